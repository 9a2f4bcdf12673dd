/** Fine-tuning: a configuration, a trainer, and what it reports. */
export type {
  FineTuneAdapter,
  FineTuneConfig,
  FineTuneData,
  FineTuneInput,
  FineTuneOutput,
  FineTunePauses,
  FineTuneRanks,
  FineTuneSteps,
} from "./config.ts";
export type {
  ChangedSetting,
  DataPart,
  FineTuneEvent,
  NumericEvent,
  OnEvent,
  PrefixCacheEvent,
  PreparationEvent,
  RunEvent,
  TestMetrics,
} from "./events.ts";
export type { BeyondFree, MemoryBudget } from "./memory_budget.ts";
export { DEFAULT_EPOCHS, FINE_TUNE_PARAMETERS } from "./parameters.ts";
export { resolveConfig } from "./resolve_config.ts";
export type { FineTuneResult } from "./run_training.ts";
export { resumedConfig } from "./saved_config.ts";
export { fineTune, type FineTuneOptions, Trainer } from "./trainer.ts";
