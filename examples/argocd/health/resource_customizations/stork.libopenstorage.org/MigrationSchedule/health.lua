-- The latest migration decides; status.items holds some of each kind of policy.
local health = {}
local annotations = (obj.metadata or {}).annotations or {}
local latest = nil
for _, migrations in pairs((obj.status or {}).items or {}) do
  for _, migration in ipairs(migrations) do
    if latest == nil or (migration.creationTimestamp or "") > (latest.creationTimestamp or "") then
      latest = migration
    end
  end
end

if annotations["stork.libopenstorage.org/static-copy"] == "true" then
  health.status = "Suspended"
  health.message = "A copy that Stork keeps for the way back."
elseif (obj.spec or {}).suspend == true then
  health.status = "Suspended"
  health.message = "Suspended: no migration starts."
elseif latest == nil then
  health.status = "Healthy"
  health.message = "No migration was due yet."
elseif latest.status == "Failed" or latest.status == "PartialSuccess" then
  health.status = "Degraded"
  health.message = "The latest migration, " .. latest.name .. ", ended with " .. latest.status .. "."
elseif latest.status == "Successful" then
  health.status = "Healthy"
  health.message = "The latest migration, " .. latest.name .. ", has succeeded."
else
  health.status = "Healthy"
  health.message = "A migration, " .. (latest.name or "") .. ", is under way."
end
return health
