/**
 * Records whose keys are names from a file: names of values, operators, modules. Every plain object
 * inherits `constructor` and `toString`, and assigning to `__proto__` of one sets no key.
 */

/** A record that inherits nothing: every name is a key like any other. */
export function emptyRecord<T>(): Record<string, T> {
  return Object.create(null);
}

/** A record's own value of a key, never an inherited one. */
export function ownValue<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
