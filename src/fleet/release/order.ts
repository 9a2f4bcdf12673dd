/**
 * The order of a fleet: the one signed value that says which release its boxes should use.
 *
 * Each change of a roll-out is a new order with a greater sequence number: a release, each of its waves, a
 * stop, a rollback. A box acts on the greatest one that it has seen, and on no smaller one again. Every
 * name, number and size in an order is checked here before anything else is done with it.
 */
import { createHash } from "node:crypto";
import { BadInputError } from "../../errors.ts";
import { formatWave, isWave, type Wave } from "./waves.ts";

/** Bytes of each piece of a file but the last: what a box holds in memory, and fetches again after a cut. */
export const PIECE_BYTES = 4 * 2 ** 20;

/** Limits that hold before anything is fetched. */
export const LIMITS = {
  orderBytes: 512 * 1024,
  files: 64,
  nameCharacters: 200,
  waves: 32,
  withdrawn: 256,
} as const;

const FORMAT = "graft-order/1";

/** A file of a release, cut into pieces that are fetched and checked one at a time. */
export interface ReleaseFile {
  /** Relative path: `adapter/…` or `model/…` by the kind, `data/…` for rows to measure on. */
  readonly name: string;
  readonly sizeBytes: number;
  /** SHA-256 of each piece of {@linkcode PIECE_BYTES}, in hexadecimal digits. */
  readonly pieces: readonly string[];
}

/** What boxes install: an adapter that each merges, or a merged model. */
export interface Release {
  /** What people call it. */
  readonly name: string;
  readonly kind: "adapter" | "model";
  /** When it was published, ISO 8601: the same files published again are another release. */
  readonly publishedAt: string;
  readonly files: readonly ReleaseFile[];
}

/** When the next wave may start, and when there is none. */
export interface WavePolicy {
  /** Share of a wave's boxes that must have decided. */
  readonly minReported: number;
  /** Share of a wave's boxes that may reject the release or fail. */
  readonly maxRejected: number;
  /** How long a wave lasts at least. */
  readonly soakSeconds: number;
}

export interface Order {
  /** The fleet's name, so that an order of another fleet with the same key is refused. */
  readonly fleet: string;
  /** Greater than that of every earlier order. */
  readonly sequence: number;
  /** ISO 8601. */
  readonly issuedAt: string;
  /** The release to use; `null` for none, as before the first. */
  readonly target: Release | null;
  /** Releases that no box may go on using, by {@linkcode releaseId}. */
  readonly withdrawn: readonly string[];
  readonly waves: readonly Wave[];
  /** Index of the wave that is open. */
  readonly wave: number;
  /** Boxes whose position (`waves.ts`) is below this may install the target: 0 for none, 1 for all. */
  readonly open: number;
  readonly policy: WavePolicy;
  /** Why the order was given, for people. */
  readonly why: string;
}

/** A release's identity: SHA-256 of what it says, in hexadecimal digits. */
export function releaseId({ name, kind, publishedAt, files }: Release): string {
  const facts = files.map(({ name, sizeBytes, pieces }) => [name, sizeBytes, pieces]);
  const text = JSON.stringify([name, kind, publishedAt, facts]);
  return createHash("sha256").update(text).digest("hex");
}

/** Bytes of all files of a release. */
export const releaseBytes = ({ files }: Release): number =>
  files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

/** All different pieces of a release with their sizes in bytes; none where there is no release. */
export function piecesOf(release: Release | null): ReadonlyMap<string, number> {
  return new Map(
    release?.files.flatMap(({ sizeBytes, pieces }) =>
      pieces.map((digest, i) => [digest, Math.min(PIECE_BYTES, sizeBytes - i * PIECE_BYTES)])
    ),
  );
}

/** The bytes of an order that are signed. */
export function encodeOrder(order: Order): Uint8Array<ArrayBuffer> {
  const { fleet, sequence, issuedAt, target, withdrawn, open, policy, why } = order;
  const json = JSON.stringify({
    format: FORMAT,
    ...{ fleet, sequence, issuedAt, why, target, withdrawn },
    ...{ waves: order.waves.map(formatWave), wave: order.wave, open, policy },
  });
  const bytes = new TextEncoder().encode(json);
  if (bytes.length > LIMITS.orderBytes) {
    throw new BadInputError(
      `The release has too many files or pieces: its order has ${bytes.length} bytes, and at most ` +
        `${LIMITS.orderBytes} are allowed`,
    );
  }
  return bytes;
}

/**
 * Reads an order, after its signature was verified.
 *
 * @param where it comes from, for the message
 * @throws {BadInputError} naming the field that is not what it should be
 */
export function decodeOrder(bytes: Uint8Array, where: string): Order {
  const problem = (what: string) => new BadInputError(`${where}: the order has ${what}`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw problem("no JSON");
  }
  const fields = fieldsOf(value);
  const format = fields?.get("format");
  if (fields === undefined || format !== FORMAT) {
    throw problem(
      `the format ${JSON.stringify(format)}, and this release of graft reads "${FORMAT}"`,
    );
  }
  const get = <T>(name: string, check: (value: unknown) => value is T): T => {
    const value = fields.get(name);
    if (!check(value)) throw problem(`no valid "${name}"`);
    return value;
  };
  const waveTexts = get("waves", isListOf(isText, LIMITS.waves));
  if (!waveTexts.every(isWave)) throw problem('no valid "waves"');
  const order: Order = {
    fleet: get("fleet", isText),
    sequence: get("sequence", isCount),
    issuedAt: get("issuedAt", isTime),
    why: get("why", isText),
    target: releaseOf(fields.get("target"), problem),
    withdrawn: get("withdrawn", isListOf(isDigest, LIMITS.withdrawn)),
    waves: waveTexts,
    wave: get("wave", isCount),
    open: get("open", isShare),
    policy: policyOf(fields.get("policy"), problem),
  };
  if (order.wave >= Math.max(1, order.waves.length)) throw problem('no valid "wave"');
  if (order.target !== null && order.withdrawn.includes(releaseId(order.target))) {
    throw problem("a target that it withdraws");
  }
  return order;
}

type Problem = (what: string) => BadInputError;

function policyOf(value: unknown, problem: Problem): WavePolicy {
  const fields = fieldsOf(value);
  const [minReported, maxRejected, soakSeconds] = ["minReported", "maxRejected", "soakSeconds"]
    .map((name) => fields?.get(name));
  if (!isShare(minReported) || !isShare(maxRejected) || !isCount(soakSeconds)) {
    throw problem('no valid "policy"');
  }
  return { minReported, maxRejected, soakSeconds };
}

function releaseOf(value: unknown, problem: Problem): Release | null {
  if (value === null) return null;
  const fields = fieldsOf(value);
  const [name, kind, publishedAt, list] = ["name", "kind", "publishedAt", "files"]
    .map((key) => fields?.get(key));
  if (
    !isReleaseName(name) || (kind !== "adapter" && kind !== "model") || !isTime(publishedAt) ||
    !Array.isArray(list) || list.length === 0 || list.length > LIMITS.files
  ) throw problem('no valid "target"');
  const files = list.map((file) => fileOf(file, kind, problem));
  const names = files.map(({ name }) => name);
  const clash = names.find((name, i) =>
    names.some((other, j) => i !== j && (name === other || other.startsWith(`${name}/`)))
  );
  if (clash !== undefined) {
    throw problem(`the file ${JSON.stringify(clash)} twice, or as a folder`);
  }
  return { name, kind, publishedAt, files };
}

function fileOf(value: unknown, kind: Release["kind"], problem: Problem): ReleaseFile {
  const fields = fieldsOf(value);
  const [name, sizeBytes, pieces] = ["name", "sizeBytes", "pieces"].map((key) => fields?.get(key));
  if (!isFileName(name, kind)) {
    throw problem(
      `the file name ${
        JSON.stringify(name)
      }, and names are ${kind}/… or data/…, of letters, digits and ` +
        ". _ - alone",
    );
  }
  if (!isCount(sizeBytes) || !isListOf(isDigest, Infinity)(pieces)) {
    throw problem(`no valid size or pieces of ${name}`);
  }
  if (pieces.length !== Math.ceil(sizeBytes / PIECE_BYTES)) {
    throw problem(`${pieces.length} pieces of ${name} for ${sizeBytes} bytes`);
  }
  return { name, sizeBytes, pieces };
}

function fieldsOf(value: unknown): ReadonlyMap<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? new Map(Object.entries(value))
    : undefined;
}

const isText = (value: unknown): value is string =>
  typeof value === "string" && value.length <= 2000;
const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;
const isShare = (value: unknown): value is number =>
  typeof value === "number" && value >= 0 && value <= 1;
const isTime = (value: unknown): value is string =>
  typeof value === "string" && /^\d{4}-\d\d-\d\dT[\d:.]{8,12}Z$/.test(value);
const isListOf =
  <T>(check: (value: unknown) => value is T, most: number) =>
  (value: unknown): value is readonly T[] =>
    Array.isArray(value) && value.length <= most && value.every(check);

/** Whether a value is a SHA-256 in hexadecimal digits, which is also a safe file name. */
export const isDigest = (value: unknown): value is string =>
  typeof value === "string" && /^[0-9a-f]{64}$/.test(value);

/** Whether a value can name a release: one word, safe in a path and on a terminal. */
export const isReleaseName = (value: unknown): value is string =>
  typeof value === "string" && /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(value);

/**
 * Whether a value can name a file of a release: in the folder of its kind or in `data`, no absolute path, no
 * `..`, no hidden file.
 */
export function isFileName(value: unknown, kind: Release["kind"]): value is string {
  return typeof value === "string" && value.length <= LIMITS.nameCharacters &&
    (value.startsWith(`${kind}/`) || value.startsWith("data/")) &&
    /^[A-Za-z0-9_][A-Za-z0-9._-]*(\/[A-Za-z0-9_][A-Za-z0-9._-]*){1,4}$/.test(value);
}
