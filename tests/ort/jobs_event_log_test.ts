import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { EventLog, type JobEvent, type JobEvents } from "../../src/jobs/event_log.ts";
import { inTempDir } from "../helpers/temp_dir.ts";

const event = (number: number, message = `Step ${number}`): JobEvent => ({
  id: `ftevent-${number}`,
  created: number,
  level: "info",
  message,
});

const numbers = ({ events }: { readonly events: readonly JobEvent[] }) =>
  events.map(({ created }) => created);

/** All events in pages, the newest first. */
function inPages(log: EventLog, limit: number): number[] {
  const all: number[] = [];
  let page: JobEvents | undefined = log.newest(limit);
  while (page !== undefined) {
    all.push(...numbers(page));
    if (!page.hasMore) break;
    page = log.newest(limit, page.events.at(-1)!.id);
  }
  return all;
}

Deno.test("EventLog gives what was appended in pages, the newest first, whatever the length of lines", () =>
  inTempDir((folder) => {
    const log = new EventLog(join(folder, "events.jsonl"));
    assertEquals(log.newest(10), { events: [], hasMore: false });
    // Longer than what is read at a time, with characters of several bytes at its borders.
    const lengths = [1, 70_000, 30_000, 5, 65_536, 200_000, 1];
    lengths.forEach((length, i) => log.append(event(i, "ä".repeat(length))));
    const { events } = log.newest(100);
    assertEquals(events.map(({ message }) => message.length), lengths.toReversed());
    assert(events.every(({ message }) => /^ä+$/.test(message)));
    for (const limit of [1, 2, 3, 7, 8]) assertEquals(inPages(log, limit), [6, 5, 4, 3, 2, 1, 0]);
    assertEquals(log.newest(2, "ftevent-unknown"), undefined);
  }));

Deno.test("EventLog passes over lines that were cut short or are no events, and loses none behind them", () =>
  inTempDir((folder) => {
    const path = join(folder, "events.jsonl");
    const log = new EventLog(path);
    log.append(event(1));
    const rests = ['{"id": "fteve', "null\n", "[]\n\n", '{"id": 7}\n', "\0\0\0"];
    rests.forEach((rest, i) => {
      Deno.writeTextFileSync(path, rest, { append: true });
      log.append(event(i + 2));
    });
    assertEquals(inPages(log, 2), [6, 5, 4, 3, 2, 1]);
  }));

Deno.test("EventLog reads as much for the newest events of a long job as for those of a short one", () =>
  inTempDir((folder) => {
    const bytesRead = (count: number) => {
      const path = join(folder, `${count}.jsonl`);
      const lines = Array.from({ length: count }, (_, i) => JSON.stringify(event(i)) + "\n");
      Deno.writeTextFileSync(path, lines.join(""));
      const { readSync } = Deno.FsFile.prototype;
      let bytes = 0;
      Deno.FsFile.prototype.readSync = function (into) {
        bytes += into.length;
        return readSync.call(this, into);
      };
      try {
        assertEquals(numbers(new EventLog(path).newest(1)), [count - 1]);
      } finally {
        Deno.FsFile.prototype.readSync = readSync;
      }
      return bytes;
    };
    assertEquals(bytesRead(200_000), bytesRead(2000));
  }));
