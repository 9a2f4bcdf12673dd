/** Reads JSON objects from files and checks every field, with errors that name file and field. */
import { BadInputError } from "../errors.ts";
import { duplicateKey } from "../safetensors/duplicate_keys.ts";

/** An object read from a JSON file. */
export class JsonFields {
  private constructor(
    readonly file: string,
    readonly fields: ReadonlyMap<string, unknown>,
  ) {}

  /** @throws {BadInputError} for text that is not a JSON object or has a repeated key */
  static parse(text: string, file: string): JsonFields {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new BadInputError(`${file}: it is not JSON: ${(error as Error).message}`, {
        cause: error,
      });
    }
    if (!isObject(value)) throw new BadInputError(`${file}: it must be a JSON object`);
    const repeated = duplicateKey(text);
    if (repeated !== undefined) {
      throw new BadInputError(`${file}: it has the key ${JSON.stringify(repeated)} twice`);
    }
    return new JsonFields(file, new Map(Object.entries(value)));
  }

  /** A field's value if `accepts` it, `undefined` if it is absent or null. */
  #get<T>(name: string, what: string, accepts: (value: unknown) => value is T): T | undefined {
    const value = this.fields.get(name) ?? undefined;
    if (value === undefined || accepts(value)) return value as T | undefined;
    throw this.wrong(name, what);
  }

  /** The error for an invalid field. */
  wrong(name: string, what: string): BadInputError {
    const shown = JSON.stringify(this.fields.get(name)) ?? "absent";
    return new BadInputError(
      `${this.file}: "${name}" must be ${what}: current value is ${shown.slice(0, 80)}`,
    );
  }

  string(name: string): string | undefined {
    return this.#get(name, "a string", isString);
  }

  number(name: string): number | undefined {
    return this.#get(name, "a number", isNumber);
  }

  boolean(name: string): boolean | undefined {
    return this.#get(name, "true or false", (value) => typeof value === "boolean");
  }

  strings(name: string): readonly string[] | undefined {
    return this.#get(name, "a list of strings", isStrings);
  }

  numbersByName(name: string): Readonly<Record<string, number>> | undefined {
    return this.#get(
      name,
      "an object of numbers",
      (value): value is Record<string, number> =>
        isObject(value) && Object.values(value).every(isNumber),
    );
  }

  object(name: string): Readonly<Record<string, unknown>> | undefined {
    return this.#get(name, "an object", isObject);
  }
}

const isString = (value: unknown): value is string => typeof value === "string";
/** Finite: JSON's 1e999 reads as infinity. */
const isNumber = (value: unknown): value is number => Number.isFinite(value);
const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every(isString);
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
