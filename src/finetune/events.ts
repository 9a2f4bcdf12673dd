/** What a fine-tuning run reports while it runs, for a terminal, a log or a program. */
import type { PrepareReport } from "../data/mod.ts";
import type { StoredAdapter } from "../hub/adapter_store.ts";
import type { IntegerForm } from "../ops/internal/integer_form.ts";
import type { AdapterNote } from "../model/adapter_note.ts";
import type { PredictedMemory } from "../plan/memory.ts";
import type { RuntimeNote } from "../runtime/runtime_note.ts";
import type { FastCheck } from "../train/check_fast.ts";
import type { EvaluationReport, SkipReport, StepReport, TrainOutcome } from "../train/events.ts";
import type { SettingTimes } from "../train/quicker_setting.ts";
import type { Message } from "../errors.ts";
import type { BeyondFree, MemoryBudget } from "./memory_budget.ts";

/** Parts of a data set. */
export type DataPart = "training" | "validation" | "test";

/** Before the first step: what was found of model, data and device, and chosen for them. */
export type PreparationEvent =
  /** Products with the file's weights that are not linear layers to adapt. */
  | { readonly kind: "other products"; readonly count: number; readonly first: string }
  | {
    readonly kind: "encoded";
    readonly part: DataPart;
    /** Whether each row has a class, and there are no target tokens to count. */
    readonly classes: boolean;
    readonly report: PrepareReport;
  }
  /** A and B of so many layers are initialised from weights, which takes a while. */
  | { readonly kind: "start from weights"; readonly layers: number }
  /** About the adapter that training continues from. */
  | AdapterNote
  /** Parameters that are trained, and all of them. */
  | { readonly kind: "parameters"; readonly trainable: number; readonly all: number }
  | RuntimeNote
  /** Integer products that saturate on this processor give way to others, which changes the last bits. */
  | { readonly kind: "integer form changed"; readonly from: IntegerForm; readonly to: IntegerForm }
  /** A resumed run keeps less than before, since less memory is free; its last bits may differ. */
  | { readonly kind: "less memory" }
  | {
    readonly kind: "memory";
    readonly predicted: PredictedMemory;
    readonly budget: MemoryBudget;
    /** What happens if that is more than is free. */
    readonly beyondFree?: BeyondFree;
    /** Tokens of a batch that run at a time, if that is less than usual in order to fit. */
    readonly tokensAtOnce?: number;
    /** Parts of a batch that are computed at the same time, if fewer than usual in order to fit. */
    readonly partsAtOnce?: number;
  }
  /** Results depend on the padding behind a text: each text runs by itself, without padding. */
  | { readonly kind: "padding matters" }
  /** The file's graph computes in another precision than training: its logits differ. */
  | {
    readonly kind: "forward differs";
    readonly why: "integer activations" | "float16";
    readonly relativeDifference: number;
  }
  /** A provider's gradient of the first batch compared with the CPU's. */
  | {
    readonly kind: "provider checked";
    readonly runtime: string;
    readonly cosine: number;
    readonly relativeError: number;
  }
  | NumericEvent
  /** What each rank of a pipeline has of the model's segments, and the peak of its memory, as predicted. */
  | {
    readonly kind: "stages";
    readonly segments: number;
    readonly stages: readonly { readonly segments: number; readonly peakBytes: number }[];
  }
  /** Several boards train together. */
  | {
    readonly kind: "ranks";
    readonly count: number;
    /** Ranks among which the layers are divided; 1: each has all. */
    readonly stages: number;
    readonly library: string;
  };

/** What was found about the numeric setting on the first batch. */
export type NumericEvent =
  | { readonly kind: "fast passed"; readonly rotated: boolean; readonly check: FastCheck }
  | { readonly kind: "fast failed"; readonly check: FastCheck }
  | { readonly kind: "exact is quicker"; readonly times: SettingTimes }
  /** Products with 8-bit weights in integers, activations in 16 bits. */
  | { readonly kind: "slices passed" | "slices failed"; readonly relativeError: number };

/** While it trains. */
export type RunEvent =
  /** Several boards have trained. */
  | {
    readonly kind: "waited";
    /** Share of the time in which this one waited for the wire and the others. */
    readonly share: number;
    /** Share of the time in which gradients were on their way while it computed. */
    readonly overlap: number;
  }
  /** A checkpoint that is not whole was passed over; a sentence. */
  | { readonly kind: "checkpoint ignored"; readonly text: string }
  | {
    readonly kind: "resumed";
    /** The checkpoint's folder. */
    readonly path: string;
    readonly changed: readonly ChangedSetting[];
  }
  /** The run begins, or resumes from `firstStep`, which is the last step if nothing is left to do. */
  | { readonly kind: "started"; readonly totalSteps: number; readonly firstStep: number }
  | PrefixCacheEvent
  | { readonly kind: "step"; readonly step: number; readonly loss: number; readonly tokens: number }
  | { readonly kind: "report"; readonly report: StepReport }
  | { readonly kind: "evaluated"; readonly report: EvaluationReport }
  | { readonly kind: "skipped"; readonly report: SkipReport }
  | { readonly kind: "checkpoint"; readonly step: number; readonly path: string }
  /** The run waits before its next step; the reason is a clause. */
  | { readonly kind: "paused"; readonly step: number; readonly reason: Message }
  | { readonly kind: "continued"; readonly step: number; readonly seconds: number }
  /** The adapter is saved, whichever way the run ended. */
  | { readonly kind: "saved"; readonly adapterPath: string; readonly outcome: TrainOutcome }
  /** The adapter is kept in graft's store. */
  | { readonly kind: "stored"; readonly name: string; readonly adapter: StoredAdapter }
  | { readonly kind: "tested"; readonly metrics: TestMetrics };

/** What is kept of frozen layers' results. */
export type PrefixCacheEvent =
  | {
    readonly kind: "prefix cache opened";
    readonly path: string;
    readonly limitBytes: number;
    /** Sequences that an earlier run has left in it. */
    readonly sequences: number;
  }
  | { readonly kind: "prefix cache busy" | "prefix cache damaged"; readonly path: string }
  | { readonly kind: "prefix cache full"; readonly path: string; readonly sizeBytes: number }
  | { readonly kind: "prefix cache removed"; readonly path: string; readonly reason: string }
  | { readonly kind: "prefix cache failed"; readonly reason: string };

/** A setting in which a resumed run differs from its start; `undefined` is not given. */
export interface ChangedSetting {
  /** Key of the parameter. */
  readonly parameter: string;
  /** Value in this run. */
  readonly now: unknown;
  /** Value that the run began with. */
  readonly before: unknown;
}

/** The evaluation on the test data. */
export interface TestMetrics {
  /** Mean loss over the target tokens. */
  readonly loss: number;
  /** Share of right answers, if the task has them. */
  readonly accuracy?: number;
}

/** Everything that a fine-tuning run reports. */
export type FineTuneEvent = PreparationEvent | RunEvent;

/** Takes the events of a fine-tuning run as they come. */
export type OnEvent<E extends FineTuneEvent = FineTuneEvent> = (event: E) => void;
