-- Writes down every byte of every server-to-server connection, as JSON lines.
-- The test that started this server reads them: what counts is what was on the wire, in clear, per connection.

module:set_global();

local add_filter_hook = require "util.filters".add_filter_hook;
local add_filter = require "util.filters".add_filter;
local base64 = require "util.encodings".base64.encode;
local encode = require "util.json".encode;
local now = require "util.time".now;

local path = module:get_option_string("wire_log_file");
local file = assert(io.open(path, "a"));
file:setvbuf("line"); -- the reader looks while the server runs

-- One number per TCP connection. A stream may try several addresses, each with a connection of its own.
local numbers = setmetatable({}, { __mode = "k" });
local last_number = 0;

local function number_of(conn)
	local number = numbers[conn];
	if not number then
		last_number = last_number + 1;
		number = last_number;
		numbers[conn] = number;
	end
	return number;
end

local function write(stream, conn, record)
	record.at = now();
	record.connection = number_of(conn);
	record.opened = stream.direction == "outgoing" and "here" or "there";
	record.peer = string.format("%s:%d", conn.peername or "?", conn.peerport or 0);
	record.here = string.format("%s:%d", conn.sockname or "?", conn.sockport or 0);
	record.layer = conn:ssl() and "tls" or "plain";
	file:write(encode(record), "\n");
end

local function log_bytes(direction)
	return function (data, stream)
		if data ~= nil and stream.conn then
			write(stream, stream.conn, { direction = direction, data = base64(data) });
		end
		return data;
	end
end

local log_in, log_out = log_bytes("in"), log_bytes("out");

add_filter_hook(function (stream)
	if tostring(stream.type):sub(1, 3) ~= "s2s" then return; end
	-- First of all that reads, last of all that writes: nothing rewrites the bytes between the log and the wire.
	add_filter(stream, "bytes/in", log_in, 1000);
	add_filter(stream, "bytes/out", log_out, -1000);
end);

module:hook("s2s-closed", function (event)
	if event.conn and event.session then
		write(event.session, event.conn, { event = "closed" });
	end
end, 1000);
