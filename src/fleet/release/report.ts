/** What a box reports about an order: plain JSON, which is checked before it is used. */
import { isDigest, isReleaseName } from "./order.ts";

/** What a box is doing about an order, or has done. */
const STATES = [
  /** Its wave is not open. */
  "waiting",
  /** It fetches the release. */
  "fetching",
  /** The release is there and is merged and measured. */
  "installing",
  /** It uses the release, or used it until its own next round. */
  "promoted",
  /** It measured the release and keeps what it has. */
  "rejected",
  /** The release is damaged, or cannot be merged or measured here. */
  "failed",
  /** There is nothing to install: it is back at what it had before. */
  "settled",
  /** It does not accept the order. */
  "refused",
] as const;
export type BoxState = typeof STATES[number];

export interface BoxReport {
  /** The box's name. */
  readonly box: string;
  /** Number of the order that it is about. */
  readonly sequence: number;
  /** The order's release. */
  readonly release: string | null;
  readonly state: BoxState;
  /** What answers on the box: a release's name, the number of a model of its own, or `base`. */
  readonly inUse: string;
  /** Held-out losses on the box: of the release, and of the model that was in use. */
  readonly loss?: number;
  readonly lossInUse?: number;
  /** Share of the adapter's gain that the merged model keeps, by its certificate. */
  readonly gainKept?: number;
  readonly why?: string;
  /** ISO 8601. */
  readonly at: string;
  /** Version of graft. */
  readonly version: string;
}

/** Longest report that is read. */
export const MOST_REPORT_BYTES = 8192;

/** Whether a report is about a release that the box has decided on. */
export const hasDecided = ({ state }: BoxReport): boolean =>
  state === "promoted" || state === "rejected" || state === "failed";

/** Whether a value can name a box: safe in a subject of NATS, in a path and on a terminal. */
export const isBoxName = (value: unknown): value is string =>
  typeof value === "string" && /^[A-Za-z0-9_][A-Za-z0-9_-]{0,79}$/.test(value);

export function encodeReport(report: BoxReport): Uint8Array<ArrayBuffer> {
  const why = report.why?.slice(0, 1000);
  return new TextEncoder().encode(JSON.stringify({ ...report, why }));
}

/** Reads a report; `undefined` if it is none, or another box's. */
export function decodeReport(bytes: Uint8Array, box: string): BoxReport | undefined {
  if (bytes.length > MOST_REPORT_BYTES) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = new Map<string, unknown>(Object.entries(value));
  const ok = Object.entries(CHECKS).every(([name, check]) => check(fields.get(name))) &&
    fields.get("box") === box;
  if (!ok) return undefined;
  // Only what was checked.
  return Object.fromEntries(
    Object.keys(CHECKS).map((name) => [name, fields.get(name)]),
  ) as unknown as BoxReport;
}

type Check = (value: unknown) => boolean;
const isShortText = (value: unknown) => typeof value === "string" && value.length <= 1000;
const isFinite: Check = (value) => value === undefined || Number.isFinite(value);

const CHECKS: Readonly<Record<keyof BoxReport, Check>> = {
  box: isBoxName,
  sequence: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  release: (value) => value === null || isDigest(value),
  state: (value) => (STATES as readonly unknown[]).includes(value),
  inUse: isReleaseName,
  loss: isFinite,
  lossInUse: isFinite,
  gainKept: isFinite,
  why: (value) => value === undefined || isShortText(value),
  at: isShortText,
  version: isShortText,
};
