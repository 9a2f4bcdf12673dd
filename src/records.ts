/**
 * Records whose keys are words of a file: names of values, operators, modules. Every plain object
 * inherits `constructor` and `toString`, and assigning to `__proto__` of one sets no key.
 */

/** A record that inherits nothing: every word is a key like any other. */
export function emptyRecord<T>(): Record<string, T> {
  return Object.create(null);
}

/** What a record itself has under a key, never what all objects inherit. */
export function ownValue<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
