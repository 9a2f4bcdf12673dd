/**
 * The folder through which the process with the network and the one with the data hand each other tasks and
 * replies. Both appear whole or not at all; neither side trusts what it reads there.
 *
 * | name | content | written by | removed by |
 * |---|---|---|---|
 * | `task/` | a message: `task.json`, `adapter.npy` | network | data, once it has replied; network, to withdraw it |
 * | `reply/` | `reply.json`, `adapter.npy` | data | network, once it is sent |
 * | `work/` | the training under way | data | data |
 */
import { join } from "@std/path";
import { BadInputError } from "../../errors.ts";
import { exists, removeDirectory, replaceDirectory } from "../../system/durable_files.ts";
import { readSmallFile } from "../../system/small_file.ts";
import type { MessageHeader, ReplyError } from "../flower/message.ts";
import { decodeNpy, encodeNpy } from "../flower/npy.ts";
import { isObjectId } from "../flower/objects.ts";
import type { Setting, Settings } from "../flower/records.ts";

/** A message with what it holds, as it came. */
export interface SpooledTask {
  readonly header: MessageHeader;
  readonly config: Settings;
  readonly layout?: Settings;
  readonly adapter?: Float32Array<ArrayBuffer>;
}

/** What a box answers: records, or why it has none. */
export interface FleetReply {
  readonly layout?: Settings;
  readonly adapter?: Float32Array<ArrayBuffer>;
  readonly metrics?: ReadonlyMap<string, number>;
  readonly error?: ReplyError;
}

/** A reply on its way. */
export interface SpooledReply extends FleetReply {
  readonly header: MessageHeader;
  /** When it was made, seconds since 1970. */
  readonly at: number;
  /** Seconds of work. */
  readonly seconds: number;
}

const [TASK, REPLY] = ["task.json", "reply.json"];
const ADAPTER = "adapter.npy";
/** Largest file of settings. */
const LARGEST_JSON = 1 << 20;

export class Spool {
  /**
   * @param folder the state's
   * @param work folder of a training under way, which may hold what was computed of rows
   */
  constructor(readonly folder: string, readonly work: string = join(folder, "work")) {}

  get #task(): string {
    return join(this.folder, "task");
  }

  get #reply(): string {
    return join(this.folder, "reply");
  }

  /** Whether a task waits or is worked on. */
  hasTask(): boolean {
    return exists(join(this.#task, TASK));
  }

  /** Whether a reply waits to be sent. */
  hasReply(): boolean {
    return exists(join(this.#reply, REPLY));
  }

  putTask({ header, config, layout, adapter }: SpooledTask): void {
    const fields = {
      header: formatHeader(header),
      config: Object.fromEntries(config),
      ...(layout && { layout: Object.fromEntries(layout) }),
    };
    replaceDirectory(this.#task, filesOf(TASK, fields, adapter));
  }

  /**
   * The task, if there is one.
   *
   * @throws {BadInputError} if its files are damaged
   */
  readTask(): SpooledTask | undefined {
    const path = join(this.#task, TASK);
    const fields = readJson(path);
    if (fields === undefined) return undefined;
    return {
      header: parseHeader(fields.header, path),
      config: settingsOf(fields.config),
      ...(fields.layout === undefined ? {} : { layout: settingsOf(fields.layout) }),
      adapter: readAdapter(this.#task),
    };
  }

  removeTask(): void {
    if (exists(this.#task)) removeDirectory(this.#task);
  }

  putReply({ header, at, seconds, layout, metrics, error, adapter }: SpooledReply): void {
    const fields = {
      ...{ header: formatHeader(header), at, seconds, error },
      ...(layout && { layout: Object.fromEntries(layout) }),
      ...(metrics && { metrics: Object.fromEntries(metrics) }),
    };
    replaceDirectory(this.#reply, filesOf(REPLY, fields, adapter));
  }

  /**
   * The reply, if there is one.
   *
   * @throws {BadInputError} if its files are damaged
   */
  readReply(): SpooledReply | undefined {
    const path = join(this.#reply, REPLY);
    const fields = readJson(path);
    if (fields === undefined) return undefined;
    const metrics = new Map(
      [...settingsOf(fields.metrics)].filter((entry): entry is [string, number] =>
        typeof entry[1] === "number"
      ),
    );
    const error = fields.error as Partial<ReplyError> | undefined;
    return {
      header: parseHeader(fields.header, path),
      at: Number(fields.at),
      seconds: Number(fields.seconds),
      layout: settingsOf(fields.layout),
      metrics,
      ...(error && { error: { code: Number(error.code), reason: String(error.reason) } }),
      adapter: readAdapter(this.#reply),
    };
  }

  removeReply(): void {
    if (exists(this.#reply)) removeDirectory(this.#reply);
  }
}

function filesOf(
  name: string,
  fields: object,
  adapter: Float32Array | undefined,
): ReadonlyMap<string, Uint8Array> {
  return new Map([
    ...(adapter === undefined ? [] : [[ADAPTER, encodeNpy(adapter)] as const]),
    [name, new TextEncoder().encode(JSON.stringify(fields))],
  ]);
}

function readJson(path: string): Record<string, unknown> | undefined {
  const bytes = readSmallFile(path, LARGEST_JSON);
  if (bytes === undefined) return undefined;
  try {
    const value = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // The message below says all.
  }
  throw new BadInputError(`${path} is damaged: remove its folder`);
}

function readAdapter(folder: string): Float32Array<ArrayBuffer> | undefined {
  const path = join(folder, ADAPTER);
  const bytes = readSmallFile(path, Infinity);
  return bytes === undefined ? undefined : decodeNpy(bytes, path);
}

function settingsOf(value: unknown): Settings {
  const isSetting = (entry: [string, unknown]): entry is [string, Setting] =>
    ["number", "boolean", "string"].includes(typeof entry[1]) ||
    (Array.isArray(entry[1]) && entry[1].every((item) => typeof item === "string"));
  return new Map(Object.entries(value ?? {}).filter(isSetting));
}

/** Numbers of 64 bits as text. */
function formatHeader(header: MessageHeader): object {
  return Object.fromEntries(
    Object.entries(header).map(([key, value]) => [
      key,
      typeof value === "bigint" ? String(value) : value,
    ]),
  );
}

function parseHeader(value: unknown, path: string): MessageHeader {
  const fields = (value ?? {}) as Record<keyof MessageHeader, unknown>;
  const number = (key: keyof MessageHeader) => {
    const text = fields[key];
    return typeof text === "string" && /^\d{1,20}$/.test(text) ? BigInt(text) : undefined;
  };
  const [runId, from, to] = [number("runId"), number("from"), number("to")];
  const [fromTask, toTask] = [number("fromTask"), number("toTask")];
  const { messageId, group, type, expires } = fields;
  if (
    runId === undefined || from === undefined || to === undefined ||
    typeof messageId !== "string" || !isObjectId(messageId) ||
    typeof group !== "string" || typeof type !== "string" || typeof expires !== "number"
  ) throw new BadInputError(`${path} is damaged: remove its folder`);
  return {
    ...{ runId, messageId, from, to, group, type, expires },
    ...(fromTask === undefined ? {} : { fromTask }),
    ...(toTask === undefined ? {} : { toTask }),
  };
}
