/** Adapters as edits of a user's graph. */
export { DEFAULT_LORA, type LoraConfig, type LoraInit, loraScale, parseLayers } from "./config.ts";
export { addClassificationHead, HEAD, type Pooling, tokenStates } from "./head.ts";
export {
  initAdapter,
  initLinear,
  initVirtualTokens,
  type RandomSource,
  type ShapedSite,
} from "./init.ts";
export { type DropoutMask, inject, type Injected, loraName } from "./inject.ts";
export type { InjectOptions, LoraWeights } from "./lora_weights.ts";
export type { LinearKind, Slice } from "./linear_form.ts";
export type { LinearWeight } from "./linear_weight.ts";
export { findModules, type LinearModule } from "./modules.ts";
export { makeTrainable, resolveModulesToSave } from "./modules_to_save.ts";
export { otherProducts } from "./other_products.ts";
export { reachOf } from "./reach.ts";
export { splitShared } from "./split_shared.ts";
export { type LoraSite, resolveTargets, targetNames } from "./targets.ts";
export type { LinearWeights, Trainable, WithTrainable } from "./trainable.ts";
