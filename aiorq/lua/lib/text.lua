-- Whether bytes are UTF-8, which names of queues must be: what is not cannot be said in a reply that is read as text.
local function is_utf8(bytes)
  if not string.find(bytes, '[\128-\255]') then return true end
  local rest = bytes
  for _, sequence in ipairs({
    '[\194-\223][\128-\191]',
    '\224[\160-\191][\128-\191]', '[\225-\236\238\239][\128-\191][\128-\191]', '\237[\128-\159][\128-\191]',
    '\240[\144-\191][\128-\191][\128-\191]', '[\241-\243][\128-\191][\128-\191][\128-\191]',
    '\244[\128-\143][\128-\191][\128-\191]',
  }) do rest = string.gsub(rest, sequence, '.') end
  return not string.find(rest, '[\128-\255]')
end
