import { assert, assertEquals } from "@std/assert";
import { int64, toNumbers } from "../../src/graph/tensor.ts";
import { lengthGroups } from "../../src/serve/length_groups.ts";

/** A batch whose row r holds the tokens 100 r, 100 r + 1, … and padding behind. */
function batchOf(lengths: readonly number[]) {
  const longest = Math.max(...lengths);
  const dims = [lengths.length, longest];
  const at = (value: (row: number, t: number) => number) =>
    int64(dims, lengths.flatMap((_, r) => Array.from({ length: longest }, (_, t) => value(r, t))));
  return {
    inputIds: at((r, t) => t < lengths[r] ? 100 * r + t : 0),
    attentionMask: at((r, t) => t < lengths[r] ? 1 : 0),
    tokenCount: lengths.reduce((sum, length) => sum + length, 0),
  };
}

Deno.test("lengthGroups() leaves a batch of texts about alike as it is", () => {
  const batch = batchOf([9, 10, 10, 8]);
  const groups = lengthGroups(batch);
  assertEquals(groups.length, 1);
  assertEquals(groups[0].batch, batch);
});

Deno.test("lengthGroups() parts long from short texts and loses no token", () => {
  const lengths = [60, 5, 6, 58, 5, 7, 6, 59];
  const groups = lengthGroups(batchOf(lengths));
  assertEquals(groups.map(({ rows }) => rows), [[0, 3, 7], [1, 2, 4, 5, 6]]);
  assertEquals(groups.map(({ batch }) => batch.inputIds.dims), [[3, 60], [5, 7]]);
  for (const { rows, batch } of groups) {
    const [ids, mask] = [batch.inputIds, batch.attentionMask].map((t) => Array.from(toNumbers(t)));
    rows.forEach((row, r) => {
      const start = r * batch.inputIds.dims[1];
      const real = ids.slice(start, start + batch.inputIds.dims[1])
        .filter((_, t) => mask[start + t] === 1);
      assertEquals(real, Array.from({ length: lengths[row] }, (_, t) => 100 * row + t));
    });
  }
});

Deno.test("lengthGroups() cuts padding that no text needs", () => {
  const { inputIds, attentionMask, tokenCount } = batchOf([3, 40]);
  const first = { inputIds, attentionMask, tokenCount };
  const [group] = lengthGroups({
    ...first,
    attentionMask: int64([2, 40], Array.from({ length: 80 }, (_, i) => i % 40 < 3 ? 1 : 0)),
  });
  assertEquals(group.batch.inputIds.dims, [2, 3]);
});

Deno.test("lengthGroups() never costs more than one run of the whole batch", () => {
  for (let seed = 1; seed < 40; seed++) {
    const lengths = Array.from({ length: 12 }, (_, i) => 1 + (seed * 7919 * (i + 1)) % 64);
    const groups = lengthGroups(batchOf(lengths));
    const cost = groups.reduce(
      (sum, { batch: { inputIds: { dims } } }) => sum + 32 + dims[0] * dims[1],
      0,
    );
    assert(cost <= 32 + 12 * Math.max(...lengths));
    assertEquals(
      groups.flatMap(({ rows }) => rows).sort((a, c) => a - c),
      lengths.map((_, i) => i),
    );
  }
});
