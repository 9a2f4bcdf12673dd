/** The loss of an adapter on data, by its rank. */
import { join } from "@std/path";
import { DATA_PARAMETERS } from "../data/data_config.ts";
import { UsageError } from "../errors.ts";
import type { AdapterCard } from "../lora/adapter_card.ts";
import { atRank } from "../lora/compose/at_rank.ts";
import type { CombinedAdapter } from "../lora/compose/combine_adapters.ts";
import { saveAdapter } from "../model/adapter_dir.ts";
import { RUNTIME_PARAMETERS } from "../runtime/runtime_parameters.ts";
import {
  type EvaluateEvent,
  evaluateOn,
  type Evaluation,
  type EvaluationConfig,
} from "./evaluate.ts";
import type { Watch } from "./watch.ts";

/** What an adapter of a rank gives. */
export interface MeasuredRank {
  /** Its rank. */
  readonly rank: number;
  /** Mean loss in nats per target token or row. */
  readonly loss: number;
  /** Share of right answers, for classifiers. */
  readonly accuracy?: number;
  /** Share of the whole adapter's gain over the base, if the base can be evaluated. */
  readonly gainKept?: number;
}

/** What the ranks of an adapter give on some data. */
export interface MeasuredRanks {
  /** The file with the data. */
  readonly dataPath: string;
  /** Loss of the base; absent if it gives no scores without the adapter. */
  readonly baseLoss?: number;
  /** In ascending order; the last one is the whole adapter. */
  readonly ranks: readonly MeasuredRank[];
}

/** What the measurement reports. */
export type MeasureEvent =
  | EvaluateEvent
  /** An evaluation begins, of the adapter at a rank or of the base. */
  | { readonly kind: "measuring"; readonly rank?: number };

/** How the data is read and computed. */
type MeasureConfig = Omit<EvaluationConfig, "adapterPath">;

/**
 * Evaluates an adapter at ranks, and the base.
 *
 * @param what an adapter whose directions are sorted, and ranks up to its own, ascending
 * @throws {BadInputError | UsageError} for data that cannot be used
 */
export async function measureRanks(
  { adapter, card, ranks }: {
    readonly adapter: CombinedAdapter["adapter"];
    readonly card: AdapterCard;
    readonly ranks: readonly number[];
  },
  config: MeasureConfig,
  { onEvent = () => {}, signal }: Watch<MeasureEvent>,
): Promise<MeasuredRanks> {
  const settings = settingsOf(config);
  const folder = Deno.makeTempDirSync({ prefix: "graft-ranks-" });
  try {
    onEvent({ kind: "measuring" });
    const base = await ofBase(() => evaluateOn(settings, { onEvent, signal }));
    const found: Evaluation[] = [];
    for (const rank of ranks) {
      onEvent({ kind: "measuring", rank });
      const adapterPath = join(folder, String(rank));
      saveAdapter(adapterPath, { ...atRank(adapter, rank), card });
      found.push(await evaluateOn({ ...settings, adapterPath }, { onEvent, signal }));
    }
    const whole = found.at(-1)!;
    const gain = base === undefined ? 0 : base.loss - whole.loss;
    return {
      dataPath: whole.dataPath,
      ...(base === undefined ? {} : { baseLoss: base.loss }),
      ranks: found.map(({ loss, accuracy }, i) => ({
        ...{ rank: ranks[i], loss },
        ...(accuracy === undefined ? {} : { accuracy }),
        ...(gain > 0 ? { gainKept: (base!.loss - loss) / gain } : {}),
      })),
    };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** An encoder gives no scores without the adapter's head. */
async function ofBase(measure: () => Promise<Evaluation>): Promise<Evaluation | undefined> {
  try {
    return await measure();
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

/** What an evaluation takes of a configuration. */
function settingsOf(config: MeasureConfig): MeasureConfig {
  const keys = [...Object.keys(DATA_PARAMETERS), ...Object.keys(RUNTIME_PARAMETERS)] as (
    keyof MeasureConfig
  )[];
  const shared = Object.fromEntries(keys.map((key) => [key, config[key]]));
  const { model, data, batchSize } = config;
  return { ...shared, model, data, batchSize } as MeasureConfig;
}
