local health = {}
local status = obj.status or {}
local result = status.status or ""

if result == "Successful" or result == "Purged" then
  health.status = "Healthy"
  health.message = "The migration has succeeded."
elseif result == "Failed" or result == "PartialSuccess" then
  health.status = "Degraded"
  if result == "Failed" then
    health.message = "The migration has failed: see its events."
  else
    health.message = "The migration has left something behind: see its events."
  end
else
  health.status = "Progressing"
  health.message = "Waiting for Stork."
  if status.stage ~= nil and status.stage ~= "" then
    health.message = "Stage: " .. status.stage .. "."
  end
end
return health
