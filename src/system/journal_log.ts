/**
 * A service's log: to systemd's journal with fields, otherwise as lines on standard error.
 *
 * Source: "Native Journal Protocol" of systemd, sd_journal_print(3), systemd.journal-fields(7).
 */
import { concat } from "@std/bytes/concat";
import { sendDatagram } from "../../ffi/libc_socket.ts";

/** Levels of syslog(3) that graft uses. */
const PRIORITY = { error: 3, warning: 4, notice: 5, info: 6 } as const;
export type Priority = keyof typeof PRIORITY;

/** Facts about an event, by upper-case names; the journal has them as `GRAFT_…`. */
export type LogFields = Readonly<Record<string, string | number | undefined>>;

/** Logs one event. */
export type Log = (priority: Priority, message: string, fields?: LogFields) => void;

const SOCKET = "/run/systemd/journal/socket";
/** Longest value, because datagrams have a largest size; longer output of a child is cut. */
const MAX_VALUE_BYTES = 16_384;

/** Encodes a message of the native protocol; values with line ends have their length before them. */
export function encodeEntry(fields: Readonly<Record<string, string>>): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const parts: Uint8Array[] = [];
  for (const [name, text] of Object.entries(fields)) {
    const value = encoder.encode(text).subarray(0, MAX_VALUE_BYTES);
    if (!text.includes("\n")) {
      parts.push(encoder.encode(`${name}=`), value, encoder.encode("\n"));
      continue;
    }
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(value.length), true);
    parts.push(encoder.encode(`${name}\n`), length, value, encoder.encode("\n"));
  }
  return concat(parts);
}

/**
 * Opens the log of this process: the journal if its standard error is connected to it
 * (`JOURNAL_STREAM`), otherwise lines. An event that the journal does not accept becomes a line too.
 *
 * @param line writes one to standard error
 * @param variable reads a variable of the environment; for tests
 * @param socket of the journal; for tests
 */
export function openLog(
  line: (text: string) => void,
  variable: (name: string) => string | undefined = (name) => Deno.env.get(name),
  socket = SOCKET,
): Log {
  const underSystemd = Boolean(variable("JOURNAL_STREAM"));
  return (priority, message, fields = {}) => {
    const known = Object.entries(fields).filter(([, value]) => value !== undefined);
    if (underSystemd) {
      const entry = encodeEntry({
        MESSAGE: message,
        PRIORITY: String(PRIORITY[priority]),
        SYSLOG_IDENTIFIER: "graft",
        ...Object.fromEntries(known.map(([name, value]) => [`GRAFT_${name}`, String(value)])),
      });
      if (sendDatagram(socket, entry, false)) return;
      // The number before the line is the priority: sd-daemon(3).
      return line(`<${PRIORITY[priority]}>${message}`);
    }
    line(message);
  };
}
