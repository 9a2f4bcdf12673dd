/**
 * What the frozen layers below everything trained compute for a sequence, kept over the epochs.
 *
 * A sequence's value is what was computed of it first: how a batch is padded and packed can change
 * the last bits of a product, and a value that stays makes a run repeatable. For the same reason
 * what enters the trained layers depends on kept rows alone, whether they were read or just
 * computed: padding gets the row of a real token, which no loss depends on.
 */
import { createHash } from "node:crypto";
import type { Packing } from "../data/packing.ts";
import type { TokenBatch } from "../data/targets.ts";
import { elementCount, type Tensor, tensor, toNumbers } from "../graph/tensor.ts";
import type { FrozenPrefix } from "../plan/frozen_prefix.ts";
import type { PlanOptions } from "../plan/options.ts";
import type { ActivationFile, ActivationKey } from "./activation_file.ts";

/** How a batch is computed, as far as the frozen part goes. */
export interface PrefixUse {
  readonly prefix: FrozenPrefix;
  readonly batch: TokenBatch;
  readonly packing?: Packing;
  readonly arithmetic: Pick<PlanOptions, "numeric" | "sliced">;
}

/** A batch's sequences in the frozen part's result. */
export class PrefixRows {
  readonly #file: ActivationFile;
  /** The calls that compute the result. */
  readonly prefix: FrozenPrefix;
  readonly #sequences: readonly Sequence[];
  readonly #bytes: Uint8Array;
  /** Sequences that the file does not have. */
  #missing: readonly Sequence[];

  private constructor(file: ActivationFile, prefix: FrozenPrefix, sequences: readonly Sequence[]) {
    this.#file = file;
    this.prefix = prefix;
    this.#sequences = sequences;
    this.#missing = sequences;
    this.#bytes = new Uint8Array(elementCount(prefix.dims) * Float32Array.BYTES_PER_ELEMENT);
  }

  /** @returns `undefined` for a batch whose real tokens are not the first of each sequence */
  static of(file: ActivationFile, use: PrefixUse): PrefixRows | undefined {
    const sequences = sequencesOf(use);
    return sequences && new PrefixRows(file, use.prefix, sequences);
  }

  /** The result, where the file has all sequences. */
  read(): Tensor | undefined {
    this.#missing = this.#sequences.filter((one) => !this.#file.get(one.key, this.#rowsOf(one)));
    return this.#missing.length === 0 ? this.#whole() : undefined;
  }

  /** The result with kept rows where there are such; the others' are kept from now on. */
  complete(computed: Tensor): Tensor {
    const added = new Map<ActivationKey, Uint8Array>();
    for (const one of this.#missing) {
      const rows = this.#rowsOf(one);
      const twin = added.get(one.key);
      if (twin !== undefined) rows.set(twin);
      else {
        const start = rows.byteOffset;
        rows.set(computed.bytes.subarray(start, start + rows.length));
        added.set(one.key, rows);
        this.#file.put(one.key, rows);
      }
    }
    this.#missing = [];
    return this.#whole();
  }

  #rowsOf({ start, tokens }: Sequence): Uint8Array {
    const rowBytes = this.prefix.width * Float32Array.BYTES_PER_ELEMENT;
    return this.#bytes.subarray(start * rowBytes, (start + tokens) * rowBytes);
  }

  #whole(): Tensor {
    const rowBytes = this.prefix.width * Float32Array.BYTES_PER_ELEMENT;
    const filler = this.#rowsOf(this.#sequences[0]).subarray(0, rowBytes);
    let row = 0;
    const fillTo = (end: number) => {
      for (; row < end; row++) this.#bytes.set(filler, row * rowBytes);
    };
    for (const { start, tokens } of this.#sequences) {
      fillTo(start);
      row += tokens;
    }
    fillTo(this.#bytes.length / rowBytes);
    return tensor("float32", this.prefix.dims, this.#bytes);
  }
}

interface Sequence {
  readonly key: ActivationKey;
  /** Its first row. */
  readonly start: number;
  readonly tokens: number;
}

/** The sequences that have tokens, in the order of their rows. */
function sequencesOf({ prefix, batch, packing, arithmetic }: PrefixUse): Sequence[] | undefined {
  if (prefix.packed && packing === undefined) return undefined;
  const { inputIds, attentionMask, tokenTypeIds } = batch;
  const { numeric, sliced } = arithmetic;
  const [count, length] = inputIds.dims;
  const mask = toNumbers(attentionMask);
  const sequences: Sequence[] = [];
  let packedRow = 0;
  for (let s = 0; s < count; s++) {
    let tokens = 0;
    while (tokens < length && Number(mask[s * length + tokens]) !== 0) tokens++;
    for (let t = tokens; t < length; t++) {
      if (Number(mask[s * length + t]) !== 0) return undefined;
    }
    if (tokens === 0) continue;
    const hash = createHash("sha256");
    // Positions are 0, 1, 2 … in every sequence.
    hash.update(
      JSON.stringify([prefix.depth, prefix.width, numeric, sliced, tokenTypeIds !== undefined]),
    );
    for (const ids of tokenTypeIds === undefined ? [inputIds] : [inputIds, tokenTypeIds]) {
      const idBytes = ids.bytes.length / (count * length);
      hash.update(ids.bytes.subarray(s * length * idBytes, (s * length + tokens) * idBytes));
    }
    const key = hash.digest("hex").slice(0, 32);
    sequences.push({ key, start: prefix.packed ? packedRow : s * length, tokens });
    packedRow += tokens;
  }
  return sequences.length === 0 ? undefined : sequences;
}
