-- Stork writes status.schedulerStatus and status.storageStatus; it looks at a
-- pair every ten seconds until it is Ready, and not again after that.
local health = {}
local status = obj.status or {}
local scheduler = status.schedulerStatus or ""
local storage = status.storageStatus or ""
local config = (obj.spec or {}).config
local context = type(config) == "table" and config["current-context"] or ""
-- What begins with ENC[: there is no string library here.
local encrypted = context >= "ENC[" and context < "ENC\\"

if obj.sops ~= nil or encrypted then
  health.status = "Degraded"
  health.message = "The pair was applied encrypted, which stops Stork for all pairs of the cluster. Delete it, and let Argo CD decrypt it."
elseif scheduler == "Error" then
  health.status = "Degraded"
  health.message = "Stork cannot reach the destination: see the events of the pair."
elseif storage == "Error" or storage == "Degraded" then
  health.status = "Degraded"
  health.message = "Stork cannot pair the storage: see the events of the pair."
elseif scheduler == "Deleting" or storage == "Deleting" then
  health.status = "Progressing"
  health.message = "Stork takes the pair down."
elseif scheduler == "Ready" and (storage == "Ready" or storage == "NotProvided") then
  health.status = "Healthy"
  health.message = "Stork has reached the destination. It does not look again: clusterpair status tells whether the credential still works."
elseif scheduler == "" then
  health.status = "Progressing"
  health.message = "Stork has not reached the destination yet. If that stays so, it cannot use the kubeconfig; only its log says why."
else
  health.status = "Progressing"
  health.message = "Stork pairs the clusters."
end
return health
