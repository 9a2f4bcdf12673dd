/**
 * What a run keeps, how many sequences it computes at once and in which forms, stored beside its adapter: a
 * resumed run goes on with the same choice, however much memory is free by then and whatever has been
 * measured since, so that its numbers are the same to the bit.
 */
import { join } from "@std/path";
import type { TrainingForms } from "../kernels/training_forms.ts";
import { DEQUANT_FORMS } from "../ops/dequant_form.ts";
import { INTEGER_FORMS } from "../ops/internal/integer_form.ts";
import { replaceFile } from "../system/durable_files.ts";
import { readSmallText } from "../system/small_file.ts";

const FILE = "memory.json";

export interface ChosenMemory {
  /** Bytes of activations kept for the backward pass. */
  readonly keepBytes: number;
  readonly sequences: number;
  /** Parts of a batch that are computed at the same time. */
  readonly shards: number;
  /** Ranks among which the layers were divided. */
  readonly stages: number;
  readonly forms?: TrainingForms;
}

/** The choice of an earlier run in this folder; `undefined` if none can be read. */
export function readChosenMemory(adapterPath: string): ChosenMemory | undefined {
  try {
    const { keep_bytes, sequences, lanes: shards, stages = 1, forms } = JSON.parse(
      readSmallText(join(adapterPath, FILE)) ?? "",
    );
    const whole = [keep_bytes, sequences, shards, stages]
      .every((value) => Number.isInteger(value) && value >= 0);
    if (!whole || sequences === 0 || shards === 0) return undefined;
    return {
      keepBytes: keep_bytes,
      ...{ sequences, shards, stages },
      ...(forms && { forms: formsOf(forms) }),
    };
  } catch {
    return undefined;
  }
}

/** @throws {StorageError} if it cannot be written */
export function writeChosenMemory(adapterPath: string, chosen: ChosenMemory): void {
  const { keepBytes, sequences, shards, stages, forms } = chosen;
  const text = JSON.stringify({
    keep_bytes: keepBytes,
    sequences,
    lanes: shards,
    ...(stages === 1 ? {} : { stages }),
    forms: forms && {
      dequant: forms.dequantForm,
      integer: forms.integerForm,
      rotated: forms.rotated,
      sliced: forms.sliced,
      quicker: forms.quicker,
    },
  });
  replaceFile(join(adapterPath, FILE), new TextEncoder().encode(text + "\n"));
}

/** Forms that this release of graft does not have are dropped. */
function formsOf(forms: Readonly<Record<string, unknown>>): TrainingForms {
  const { dequant, integer, rotated, sliced, quicker } = forms;
  return {
    dequantForm: DEQUANT_FORMS.find((form) => form === dequant),
    integerForm: INTEGER_FORMS.find((form) => form === integer),
    rotated: rotated === true,
    sliced: sliced === true,
    ...(quicker === "exact" || quicker === "fast" ? { quicker } : {}),
  };
}
