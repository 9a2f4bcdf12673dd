/** What happened in a job, a line of JSON each. Only what is asked for is read: a long job has many. */
import * as v from "valibot";
import { linesBackward } from "../system/lines_backward.ts";
import { readAt } from "../system/read_at.ts";
import { regularFileSize } from "../system/regular_file.ts";

const jobEvent = v.object({
  id: v.string(),
  /** Seconds since 1970. */
  created: v.number(),
  level: v.picklist(["info", "warn", "error"]),
  message: v.string(),
  /** Figures of a step. */
  data: v.exactOptional(v.record(v.string(), v.number())),
});

export type JobEvent = Readonly<v.InferOutput<typeof jobEvent>>;

/** Some events of a job, the newest first. */
export interface JobEvents {
  readonly events: readonly JobEvent[];
  /** Whether there are older ones. */
  readonly hasMore: boolean;
}

export class EventLog {
  /** @param path a file that may not exist yet */
  constructor(readonly path: string) {}

  append(event: JobEvent): void {
    const line = new TextEncoder().encode(JSON.stringify(event) + "\n");
    using file = Deno.openSync(this.path, { read: true, append: true, create: true });
    const { size } = file.statSync();
    const last = new Uint8Array(Math.min(size, 1));
    readAt(file, size - last.length, last);
    // A line that a kill or a full disk cut short must not take the next one with it.
    const isCut = last.length > 0 && last[0] !== LINE_END;
    const bytes = isCut ? Uint8Array.of(LINE_END, ...line) : line;
    for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
  }

  /**
   * The newest events, the newest first.
   *
   * @param limit the most of them
   * @param after id of an event: only older ones
   * @returns `undefined` if `after` is not there
   * @throws {BadInputError} where the file is a pipe or a device
   */
  newest(limit: number): JobEvents;
  newest(limit: number, after: string | undefined): JobEvents | undefined;
  newest(limit: number, after?: string): JobEvents | undefined {
    const events: JobEvent[] = [];
    let isPast = after === undefined;
    if (regularFileSize(this.path) === undefined) return isPast ? NONE : undefined;
    for (const line of linesBackward(this.path)) {
      // Most lines of a deep page are passed over: reading each as JSON would take most of the time.
      if (!isPast && !line.includes(after!)) continue;
      const event = parseEvent(line);
      if (event === undefined) continue;
      if (!isPast) isPast = event.id === after;
      else if (events.length === limit) return { events, hasMore: true };
      else events.push(event);
    }
    return isPast ? { events, hasMore: false } : undefined;
  }
}

const LINE_END = "\n".charCodeAt(0);
const NONE: JobEvents = { events: [], hasMore: false };

/** @returns `undefined` for a line that was cut short, or is none of a log */
function parseEvent(line: string): JobEvent | undefined {
  try {
    const { success, output } = v.safeParse(jobEvent, JSON.parse(line));
    return success ? output as JobEvent : undefined;
  } catch {
    return undefined;
  }
}
