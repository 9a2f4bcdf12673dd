/** Validates a journal's records before their names and numbers are used. */
import type { JournalEvent, JournalRecord } from "./records.ts";

type Check = (value: unknown) => boolean;

const text: Check = (value) => typeof value === "string";
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const truth: Check = (value) => typeof value === "boolean";
/** JSON has no infinity, and no NaN: such a loss is written as null. */
const loss: Check = (value) => typeof value === "number" || value === null;
const optional = (check: Check): Check => (value) => value === undefined || check(value);
/** The name of a cycle and of its folder. */
const cycle: Check = (value) => typeof value === "string" && /^\d{1,15}$/.test(value);
/** A model: that of a cycle, or the base. */
const model: Check = (value) => value === null || cycle(value);
const cycles: Check = (value) => Array.isArray(value) && value.every(cycle);
const score: Check = (value) =>
  hasFields(value, {
    ...{ loss, accuracy: optional(loss), guessed: optional(text) },
    instead: optional((other) => hasFields(other, { model, why: text })),
  });

type Fields = Readonly<Record<string, Check>>;

const FIELDS: { readonly [Step in JournalEvent["step"]]: Fields } = {
  begun: {
    ...{ cycle, data: text, rows: count, heldOut: count },
    ...{ guessLoss: optional(loss), forgotten: optional(count), release: optional(text) },
  },
  interrupted: { cycle, why: text },
  trained: { cycle },
  merged: { cycle },
  evaluated: {
    ...{ cycle, against: model, inUse: score, candidate: score },
    ...{ margin: (value) => typeof value === "number", better: truth },
  },
  found: { inUse: model, models: cycles, damagedLine: optional(count), keptAs: optional(text) },
  promoted: { cycle, from: model },
  rejected: { cycle, why: text },
  failed: { cycle, why: text },
  "rolled back": { to: model, from: model },
};
const STEPS = new Map<unknown, Fields>(Object.entries(FIELDS));

function hasFields(value: unknown, fields: Fields): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const given = new Map<string, unknown>(Object.entries(value));
  return Object.entries(fields).every(([name, check]) => check(given.get(name)));
}

/** Whether a line's JSON is a record with all fields of its step. */
export function isRecord(value: unknown): value is JournalRecord {
  if (!hasFields(value, { step: text, at: text })) return false;
  const fields = STEPS.get(value.step);
  return fields !== undefined && hasFields(value, fields);
}
