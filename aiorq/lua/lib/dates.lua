-- RQ's text of a date, `YYYY-MM-DDTHH:MM:SS.ffffffZ`, for seconds since 1970 (Redis's Lua has no os.date).
-- Days to civil date after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
local function iso(seconds)
  local whole = math.floor(seconds)
  local micros = math.floor((seconds - whole) * 1000000 + 0.5)
  if micros == 1000000 then whole, micros = whole + 1, 0 end
  local days = math.floor(whole / 86400)
  local rest = whole - days * 86400
  local shifted = days + 719468
  local era = math.floor(shifted / 146097)
  local doe = shifted - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day,
    math.floor(rest / 3600), math.floor(rest / 60) % 60, rest % 60, micros)
end

-- Seconds as RQ writes them in executions and results: a decimal text with six digits behind the point.
local function epoch(seconds) return string.format('%.6f', seconds) end
