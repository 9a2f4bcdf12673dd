import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  Batches,
  batchRows,
  bucketFor,
  collate,
  defaultBuckets,
  type EncodedRow,
  type EncodedRows,
  labelsToTrain,
  MemoryBytes,
  type OrderOptions,
  sortLabels,
  splitByGroup,
  TokenStore,
} from "../../src/data/mod.ts";
import { toNumbers } from "../../src/graph/tensor.ts";
import { BadInputError } from "../../src/errors.ts";

/** Rows of these lengths, each holding its own number throughout. */
function rowsOfLengths(lengths: readonly number[]): EncodedRows {
  const store = new TokenStore();
  lengths.forEach((length, i) =>
    store.append({
      ids: new Int32Array(length).fill(i + 1),
      spans: Int32Array.from([0, length]),
    })
  );
  return store;
}

const row = (ids: number[], spans: number[], classId?: number): EncodedRow => ({
  ids: Int32Array.from(ids),
  spans: Int32Array.from(spans),
  classId,
});

const OPTIONS: OrderOptions = { batchSize: 4, order: "shuffled", seed: 1, poolBatches: 3 };
const lengths = fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 60 });
const plain = (batches: Uint32Array[]) => batches.map((batch) => [...batch]);

Deno.test("batchRows() puts every row into one batch, and fills all batches but one", () => {
  fc.assert(fc.property(
    lengths,
    fc.constantFrom("shuffled", "in-order", "by-length"),
    fc.nat(5),
    (ls, order, epoch) => {
      const batches = plain(batchRows(rowsOfLengths(ls), epoch, { ...OPTIONS, order }));
      assertEquals(batches.flat().sort((a, b) => a - b), ls.map((_, i) => i));
      assertEquals(batches.length, Math.ceil(ls.length / 4));
      assert(batches.filter((batch) => batch.length < 4).length <= 1);
    },
  ));
});

Deno.test("batchRows() is the same for one seed and epoch and another for others", () => {
  const rows = rowsOfLengths(Array.from({ length: 40 }, (_, i) => 1 + i % 7));
  const first = plain(batchRows(rows, 0, OPTIONS));
  assertEquals(plain(batchRows(rows, 0, OPTIONS)), first);
  assert(JSON.stringify(plain(batchRows(rows, 1, OPTIONS))) !== JSON.stringify(first));
  assert(
    JSON.stringify(plain(batchRows(rows, 0, { ...OPTIONS, seed: 2 }))) !== JSON.stringify(first),
  );
});

Deno.test("batchRows() in order keeps the file's order", () => {
  const rows = rowsOfLengths([5, 1, 4, 2, 3]);
  assertEquals(plain(batchRows(rows, 3, { ...OPTIONS, batchSize: 2, order: "in-order" })), [
    [0, 1],
    [2, 3],
    [4],
  ]);
});

Deno.test("batchRows() shuffled pads far less than chance and still mixes", () => {
  const ls = Array.from({ length: 400 }, (_, i) => 1 + (i * 37) % 100);
  const rows = rowsOfLengths(ls);
  const padded = (batches: Uint32Array[]) =>
    batches.reduce((sum, b) => sum + b.length * Math.max(...Array.from(b, (i) => ls[i])), 0);
  const real = ls.reduce((a, b) => a + b);
  const batches = batchRows(rows, 0, { ...OPTIONS, batchSize: 8, poolBatches: 10 });
  assert(padded(batches) < 1.1 * real);
  assert(padded(batchRows(rows, 0, { ...OPTIONS, batchSize: 8, order: "in-order" })) > 1.5 * real);
  const means = batches.map((b) => Array.from(b, (i) => ls[i]).reduce((x, y) => x + y) / b.length);
  assert(means.some((mean, i) => i > 0 && mean < means[i - 1]), "batches must not go by length");
});

Deno.test("defaultBuckets() ends at the longest length and never pads more than it should", () => {
  assertEquals(defaultBuckets(20), [8, 16, 20]);
  assertEquals(defaultBuckets(200).slice(7), [64, 80, 96, 112, 128, 160, 192, 200]);
  fc.assert(fc.property(fc.integer({ min: 1, max: 5000 }), fc.nat(), (longest, n) => {
    const buckets = defaultBuckets(longest);
    const length = 1 + n % longest;
    const bucket = bucketFor(buckets, length);
    assert(bucket >= length && bucket <= longest);
    assert(bucket - length < Math.max(8, length / 4));
    assertEquals(buckets[buckets.length - 1], longest);
  }));
  assertThrows(() => defaultBuckets(0), RangeError, "current value is 0");
});

Deno.test("collate() pads on the right, masks padding, and labels what is learned", () => {
  const batch = collate([row([5, 6, 7], [1, 3]), row([8], [])], { padId: 9, buckets: [4, 8] });
  assertEquals(batch.inputIds.dims, [2, 4]);
  assertEquals([...toNumbers(batch.inputIds)], [5, 6, 7, 9, 8, 9, 9, 9]);
  assertEquals([...toNumbers(batch.attentionMask)], [1, 1, 1, 0, 1, 0, 0, 0]);
  assertEquals([...batch.labels!], [-100, 6, 7, -100, -100, -100, -100, -100]);
  assertEquals([batch.tokenCount, batch.targetCount], [4, 2]);
  assertEquals([batch.classIds, batch.tokenTypeIds], [undefined, undefined]);
});

Deno.test("collate() does not count the first token as a target: nothing predicts it", () => {
  const batch = collate([row([5, 6, 7], [0, 3])], { padId: 0, buckets: [8] });
  assertEquals(batch.targetCount, 2);
});

Deno.test("collate() of classified rows has classes, and type ids where the model reads them", () => {
  const rows = [row([5], [], 3), row([6, 7], [], 0)];
  const batch = collate(rows, { padId: 0, buckets: [8], tokenTypeIds: true });
  assertEquals([...batch.classIds!], [3, 0]);
  assertEquals([batch.labels, batch.targetCount], [undefined, 2]);
  assertEquals([...toNumbers(batch.tokenTypeIds!)], new Array(16).fill(0));
});

Deno.test("Batches gives the same batch for the same position, whichever was asked for before", async () => {
  const rows = rowsOfLengths(Array.from({ length: 30 }, (_, i) => 1 + i % 9));
  const options = { ...OPTIONS, padId: 0, buckets: defaultBuckets(16) };
  const straight = new Batches(rows, options);
  const seen = new Map<string, string>();
  for (const epoch of [0, 1]) {
    for (let i = 0; i < straight.batches(epoch); i++) {
      const { inputIds } = await straight.batch(epoch, i);
      seen.set(`${epoch}/${i}`, [...toNumbers(inputIds)].join());
    }
  }
  const resumed = new Batches(rows, options);
  for (const [epoch, i] of [[1, 5], [0, 3], [1, 2]]) {
    const { inputIds } = await resumed.batch(epoch, i);
    assertEquals([...toNumbers(inputIds)].join(), seen.get(`${epoch}/${i}`));
  }
  await assertRejects(() => resumed.batch(0, 8), RangeError, "current value is 8");
});

Deno.test("Batches has only lengths of its buckets", async () => {
  const rows = rowsOfLengths(Array.from({ length: 50 }, (_, i) => 1 + i));
  const buckets = defaultBuckets(50);
  const batches = new Batches(rows, { ...OPTIONS, padId: 0, buckets });
  for (let i = 0; i < batches.batches(0); i++) {
    assert(buckets.includes((await batches.batch(0, i)).inputIds.dims[1]));
  }
});

Deno.test("TokenStore gives rows back as they were put in", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(
      fc.record({ ids: fc.array(fc.nat(), { maxLength: 9 }), classId: fc.option(fc.nat(9)) }),
    ),
    async (rows) => {
      const store = new TokenStore();
      const put = rows.map(({ ids, classId }) => row(ids, [0, ids.length], classId ?? undefined));
      put.forEach((r) => store.append(r));
      assertEquals(await Promise.all(put.map((_, i) => store.row(i))), put);
    },
  ));
});

Deno.test("splitByGroup() never has one group on both sides and comes near its share", () => {
  fc.assert(fc.property(
    fc.array(fc.nat(12), { minLength: 2, maxLength: 80 }).filter((groups) =>
      new Set(groups).size > 1
    ),
    fc.nat(100),
    (groups, seed) => {
      const { train, valid } = splitByGroup(groups, 0.2, seed, "d.jsonl");
      assertEquals([...train, ...valid].sort((a, b) => a - b), groups.map((_, i) => i));
      const aside = new Set(Array.from(valid, (i) => groups[i]));
      assert(Array.from(train, (i) => groups[i]).every((group) => !aside.has(group)));
      assert(train.length > 0 && valid.length > 0);
      const largest = Math.max(...[...aside].map((g) => groups.filter((x) => x === g).length));
      assert(valid.length <= Math.max(1, Math.round(0.2 * groups.length)) + largest - 1);
      assertEquals(splitByGroup(groups, 0.2, seed, "d.jsonl"), { train, valid });
    },
  ));
});

Deno.test("splitByGroup() refuses data of one prompt and shares that are none", () => {
  assertThrows(
    () => splitByGroup([4, 4, 4], 0.5, 0, "d.jsonl"),
    BadInputError,
    "d.jsonl: cannot put",
  );
  for (const share of [0, 1, -1, NaN]) {
    assertThrows(
      () => splitByGroup([1, 2], share, 0, "d"),
      RangeError,
      `current value is ${share}`,
    );
  }
});

Deno.test("sortLabels() sorts as Python does, and whole numbers by value", () => {
  assertEquals(sortLabels(["b", "a", "B", "a"]), ["B", "a", "b"]);
  assertEquals(sortLabels(["\u{1f680}", "\uffee"]), ["\uffee", "\u{1f680}"]);
  assertEquals(sortLabels(["10", "9", "-1"]), ["-1", "9", "10"]);
  assertEquals(sortLabels(["10", "9", "x"]), ["10", "9", "x"]);
});

Deno.test("labelsToTrain() refuses one class", () => {
  assertThrows(() => labelsToTrain(["a", "a"], "d.csv"), BadInputError, `only "a"`);
});

Deno.test("MemoryBytes.read() gives back what was appended, however it lies in blocks", async () => {
  const bytes = new MemoryBytes();
  const lengths = [0, 1, 40_000, 30_000, 200_000, 7, 0, 65_536, 3];
  const appended = lengths.map((length, i) => new Uint8Array(length).fill(i + 1));
  for (const each of appended) bytes.append(each);
  let offset = 0;
  for (const each of appended) {
    assertEquals(await bytes.read(offset, each.length), each);
    offset += each.length;
  }
});
