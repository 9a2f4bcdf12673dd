/**
 * What the frozen layers below everything trained compute for a sequence, kept across epochs.
 *
 * The value of a sequence is the one that was computed first: how a batch is padded and packed can change the
 * last bits of a product, and a fixed value makes a run repeatable. For the same reason what enters the
 * trained layers depends on kept rows alone, whether they were read or just computed: padding gets the row of
 * a real token, which no loss depends on.
 */
import { createHash } from "node:crypto";
import type { Packing } from "../data/packing.ts";
import { leadingTokens } from "../data/prefixes.ts";
import type { TokenBatch } from "../data/targets.ts";
import { elementCount, type Tensor, tensor, toNumbers } from "../graph/tensor.ts";
import { type Arithmetic, isSliced, numericOf } from "../plan/arithmetic.ts";
import type { FrozenPrefix } from "../plan/frozen_prefix.ts";
import type { ActivationFile, ActivationKey } from "./activation_file.ts";

/** How the frozen part of a batch is computed. */
export interface PrefixUse {
  readonly prefix: FrozenPrefix;
  readonly batch: TokenBatch;
  readonly packing?: Packing;
  readonly arithmetic: Arithmetic;
}

/** A batch's sequences in the frozen part's result. */
export class PrefixRows {
  readonly #file: ActivationFile;
  /** The calls that compute the result. */
  readonly prefix: FrozenPrefix;
  readonly #sequences: readonly Sequence[];
  readonly #rowBytes: number;
  /** Sequences that are not in the file. */
  #missing: readonly Sequence[];

  private constructor(file: ActivationFile, prefix: FrozenPrefix, sequences: readonly Sequence[]) {
    this.#file = file;
    this.prefix = prefix;
    this.#sequences = sequences;
    this.#missing = sequences;
    this.#rowBytes = prefix.width * Float32Array.BYTES_PER_ELEMENT;
  }

  /** @returns `undefined` for a batch in which real tokens are not the first of each sequence */
  static of(file: ActivationFile, use: PrefixUse): PrefixRows | undefined {
    const sequences = sequencesOf(use);
    return sequences && new PrefixRows(file, use.prefix, sequences);
  }

  /** The result, if the file has all sequences. */
  read(): Tensor | undefined {
    this.#missing = this.#sequences.filter((one) => !this.#file.get(one.key, one.content));
    return this.#missing.length === 0 ? this.#whole() : undefined;
  }

  /** The result with kept rows wherever there are any; the others' rows are kept from now on. */
  complete(computed: Tensor): Tensor {
    const bytes = this.#rowBytes;
    const added = new Map<ActivationKey, Uint8Array>();
    for (const { key, rows, content } of this.#missing) {
      const twin = added.get(key);
      if (twin !== undefined) content.set(twin);
      else {
        rows.forEach((row, t) =>
          content.set(computed.bytes.subarray(row * bytes, (row + 1) * bytes), t * bytes)
        );
        added.set(key, content);
        this.#file.put(key, content);
      }
    }
    this.#missing = [];
    return this.#whole();
  }

  #whole(): Tensor {
    const bytes = this.#rowBytes;
    const whole = new Uint8Array(elementCount(this.prefix.dims) * Float32Array.BYTES_PER_ELEMENT);
    const filler = this.#sequences[0].content.subarray(0, bytes);
    for (let at = 0; at < whole.length; at += bytes) whole.set(filler, at);
    // Of sequences that share rows, the first one's are kept.
    for (const { rows, content } of [...this.#sequences].reverse()) {
      rows.forEach((row, t) =>
        whole.set(content.subarray(t * bytes, (t + 1) * bytes), row * bytes)
      );
    }
    return tensor("float32", this.prefix.dims, whole);
  }
}

interface Sequence {
  readonly key: ActivationKey;
  /** The row of each of the sequence's tokens. */
  readonly rows: readonly number[];
  /** The kept content: those rows, concatenated. */
  readonly content: Uint8Array;
}

/** The sequences that have tokens. */
function sequencesOf({ prefix, batch, packing, arithmetic }: PrefixUse): Sequence[] | undefined {
  if (prefix.packed && packing === undefined) return undefined;
  const { inputIds, attentionMask, tokenTypeIds } = batch;
  const [count, length] = inputIds.dims;
  const rowOf = prefix.packed ? toNumbers(packing!.rowOf) : undefined;
  const rowBytes = prefix.width * Float32Array.BYTES_PER_ELEMENT;
  const sequences: Sequence[] = [];
  for (const [s, tokens] of leadingTokens(attentionMask).entries()) {
    if (tokens === undefined) return undefined;
    if (tokens === 0) continue;
    const hash = createHash("sha256");
    // Positions are 0, 1, 2 … in every sequence.
    hash.update(
      JSON.stringify([
        ...[prefix.depth, prefix.width, numericOf(arithmetic), isSliced(arithmetic)],
        tokenTypeIds !== undefined,
      ]),
    );
    for (const ids of tokenTypeIds === undefined ? [inputIds] : [inputIds, tokenTypeIds]) {
      const idBytes = ids.bytes.length / (count * length);
      hash.update(ids.bytes.subarray(s * length * idBytes, (s * length + tokens) * idBytes));
    }
    const key = hash.digest("hex").slice(0, 32);
    const positions = Array.from({ length: tokens }, (_, t) => s * length + t);
    const rows = positions.map((position) => Number(rowOf?.[position] ?? position));
    sequences.push({ key, rows, content: new Uint8Array(tokens * rowBytes) });
  }
  return sequences.length === 0 ? undefined : sequences;
}
