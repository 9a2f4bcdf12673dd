/** Refuses adapters that cannot be combined. */
import { BadInputError, UsageError } from "../../errors.ts";
import type { WeightedAdapter } from "../merge/adapters.ts";
import { methodsOf } from "../peft_config.ts";
import { METHOD_NAMES } from "../peft_type.ts";

/**
 * Checks that adapters belong to one base and task, and that what replaces the base's tensors (heads,
 * modules trained in full) comes from one adapter, with weight 1: such tensors cannot be added.
 *
 * @throws {BadInputError} for adapters of scales, of DoRA, and of several bases or tasks
 * @throws {UsageError} for a head or a module that would have to be weighted or mixed
 */
export function checkCombinable(adapters: readonly WeightedAdapter[]): void {
  for (const { adapter, label } of adapters) {
    if (adapter.config.bias !== undefined) {
      throw new BadInputError(
        `${label}: it has trained biases, which can only replace the base's; \`graft merge\` can ` +
          "merge it",
      );
    }
    if (adapter.config.useDora) {
      throw new BadInputError(
        `${label}: it is an adapter of DoRA, whose magnitudes cannot be combined with others; ` +
          "`graft merge` can merge it",
      );
    }
    const other = methodsOf(adapter.config).find((method) => method !== "lora");
    if (other === undefined) continue;
    const what = other === "scales" ? "is an adapter of scales" : `has ${METHOD_NAMES[other]}`;
    const merges = adapter.promptEmbeddings === undefined ? "; `graft merge` can merge it" : "";
    throw new BadInputError(`${label}: it ${what}, which cannot be combined with others${merges}`);
  }
  agree(adapters, "bases", ({ card }) => card?.baseDigest.slice(0, "sha256:".length + 12));
  // Names of one base may differ from machine to machine, so they count only without digests.
  agree(adapters, "bases", ({ card, config }) => card === undefined ? config.base : undefined);
  agree(adapters, "tasks", ({ card }) => card?.task);
  agree(adapters, "classes", ({ card }) => card?.labels?.join(", ").slice(0, 80));
  const owners = new Map<string, string>();
  for (const { adapter: { head, saved }, label, weight } of adapters) {
    const parts = [...saved.keys()].map((path) => `module "${path}"`);
    if (head !== undefined) parts.push("classification head");
    for (const what of parts) {
      const other = owners.get(what);
      if (other !== undefined) {
        throw new UsageError(
          `Cannot combine ${label} with ${other}: both bring a fully trained ${what}, which can ` +
            "only replace the base's",
        );
      }
      if (weight !== 1) {
        throw new UsageError(
          `Cannot combine ${label} with weight ${weight}: its fully trained ${what} can only ` +
            "replace the base's; use weight 1",
        );
      }
      owners.set(what, label);
    }
  }
}

/** @throws {BadInputError} if two adapters that say something say different things */
function agree(
  adapters: readonly WeightedAdapter[],
  what: string,
  of: (adapter: WeightedAdapter["adapter"]) => string | undefined,
): void {
  const known = adapters.flatMap(({ adapter, label }) => {
    const value = of(adapter);
    return value === undefined ? [] : [{ label, value }];
  });
  const other = known.find(({ value }) => value !== known[0].value);
  if (other === undefined) return;
  throw new BadInputError(
    `Cannot combine ${known[0].label} and ${other.label}: they have different ${what}: ` +
      `"${known[0].value}" and "${other.value}"`,
  );
}
