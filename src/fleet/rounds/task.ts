/** What a server asks a box to do in a round (docs/design/fleet.md), read from a message or a file. */
import { TaskError } from "./task_error.ts";
import type { Setting, Settings } from "../flower/records.ts";
import { countNumbers, type FleetLayer, parseLayers, type Parts } from "./layout.ts";

/** Version of the contract between server and box. */
const PROTOCOL = 1;

const AGGREGATIONS = ["stack", "average", "private"] as const;

/** How the server combines adapters. */
export type Aggregation = (typeof AGGREGATIONS)[number];

/** A round's work; absent settings are the box's own. */
export interface FleetTask {
  readonly kind: "train" | "evaluate";
  readonly round: number;
  readonly aggregation: Aggregation;
  readonly rank?: number;
  readonly loraAlpha?: number;
  readonly targetModules?: readonly string[];
  readonly learningRate?: number;
  readonly maxSteps?: number;
  readonly batchSize?: number;
  readonly seed: number;
  readonly baseDigest?: string;
  /** Layers of the vector that came; absent if it is of the box's own rank and targets. */
  readonly layers?: readonly FleetLayer[];
  readonly parts: Parts;
}

/**
 * Reads a task.
 *
 * @param type of the message
 * @param layout its record of that name, if it has one
 * @param length of the vector that came; 0 if none did
 * @throws {TaskError} naming what this box does not understand
 */
export function readTask(
  type: string,
  config: Settings,
  layout: Settings | undefined,
  length: number,
): FleetTask {
  if (type !== "train" && type !== "evaluate") {
    throw new TaskError(`A box answers "train" and "evaluate" only`);
  }
  const read = new SettingsReader(config);
  const protocol = read.integer("graft-protocol", 1, 2 ** 31) ?? PROTOCOL;
  if (protocol !== PROTOCOL) {
    throw new TaskError(
      `"graft-protocol" is ${protocol}: this box speaks ${PROTOCOL}; it needs another graft`,
    );
  }
  const aggregation = read.text("aggregation") ?? "average";
  if (!isAggregation(aggregation)) {
    throw new TaskError(`"aggregation" must be one of ${AGGREGATIONS.join(", ")}`);
  }
  const layers = readLayers(layout, length);
  const parts = partsOf(layout, aggregation);
  if (layers !== undefined && countNumbers(layers, parts) !== length) {
    throw new TaskError(
      `The adapter has ${length} numbers: its layout has ${countNumbers(layers, parts)}`,
    );
  }
  return {
    kind: type,
    round: read.integer("round", 0, 2 ** 31) ?? read.integer("server-round", 0, 2 ** 31) ?? 1,
    aggregation,
    rank: read.integer("rank", 1, 4096),
    loraAlpha: read.positive("lora-alpha"),
    targetModules: read.texts("target-modules"),
    learningRate: read.positive("learning-rate"),
    maxSteps: read.integer("max-steps", 1, 10_000_000),
    batchSize: read.integer("batch-size", 1, 1 << 20),
    seed: read.integer("seed", 0, 2 ** 31) ?? 0,
    baseDigest: read.text("base-digest") || undefined,
    layers,
    parts,
  };
}

const isAggregation = (text: string): text is Aggregation =>
  (AGGREGATIONS as readonly string[]).includes(text);

/** A layout without layers, as of the first round, is none. */
function readLayers(layout: Settings | undefined, length: number): FleetLayer[] | undefined {
  const text = layout === undefined ? undefined : new SettingsReader(layout).text("layers");
  if (text === undefined || length === 0) return undefined;
  return parseLayers(text);
}

function partsOf(layout: Settings | undefined, aggregation: Aggregation): Parts {
  const own: Parts = aggregation === "private" ? "B" : "AB";
  const parts = layout === undefined ? undefined : new SettingsReader(layout).text("parts");
  if (parts !== undefined && parts !== own) {
    throw new TaskError(`"parts" must be ${own} where "aggregation" is ${aggregation}`);
  }
  return own;
}

/** Settings that another machine sent, each checked. */
class SettingsReader {
  constructor(readonly settings: Settings) {}

  #wrong(name: string, what: string): TaskError {
    const shown = JSON.stringify(this.settings.get(name))?.slice(0, 80);
    return new TaskError(`"${name}" must be ${what}: current value is ${shown}`);
  }

  #get<T extends Setting>(
    name: string,
    what: string,
    accepts: (value: Setting) => value is T,
  ): T | undefined {
    const value = this.settings.get(name);
    if (value === undefined || accepts(value)) return value;
    throw this.#wrong(name, what);
  }

  integer(name: string, least: number, most: number): number | undefined {
    return this.#get(
      name,
      `a whole number between ${least} and ${most}`,
      (value): value is number =>
        Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most,
    );
  }

  positive(name: string): number | undefined {
    return this.#get(
      name,
      "a number above 0",
      (value): value is number => Number.isFinite(value) && (value as number) > 0,
    );
  }

  text(name: string): string | undefined {
    return this.#get(name, "a text", (value) => typeof value === "string");
  }

  texts(name: string): readonly string[] | undefined {
    return this.#get(
      name,
      "a list of at most 256 short texts",
      (value): value is readonly string[] =>
        Array.isArray(value) && value.length > 0 && value.length <= 256 &&
        value.every((text) => typeof text === "string" && text.length <= 200),
    );
  }
}
