import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { gramOf } from "../../src/linalg/gram.ts";
import {
  firstColumns,
  frobenius,
  matrixOf,
  product,
  transposed,
  transposedProduct,
} from "../../src/linalg/matrix.ts";
import { numericalRank } from "../../src/linalg/numerical_rank.ts";
import { qr } from "../../src/linalg/qr.ts";
import { rowEchelon } from "../../src/linalg/row_echelon.ts";
import { randomizedSvd } from "../../src/linalg/randomized_svd.ts";
import { leadingSvd, type Svd, svd, svdOfProduct } from "../../src/linalg/svd.ts";
import { symmetricEigen } from "../../src/linalg/symmetric_eigen.ts";
import { Random } from "../../src/random.ts";
import { distance, fromSvd, orthonormal, randomMatrix } from "../helpers/matrices.ts";

const SHAPES = [[1, 1], [5, 3], [3, 5], [8, 8], [40, 12], [2, 30]] as const;

function assertOrthonormal(m: ReturnType<typeof matrixOf>) {
  const gram = transposedProduct(m, m);
  const identity = matrixOf(m.cols, m.cols, gram.values.map((_, i) => +(i % (m.cols + 1) === 0)));
  assert(distance(gram, identity) < 1e-13, `columns differ by ${distance(gram, identity)}`);
}

const algorithms = [
  ["svd()", (m: ReturnType<typeof matrixOf>): Svd => svd(m), 1e-14],
  ["leadingSvd()", (m: ReturnType<typeof matrixOf>) => leadingSvd(m, 1e9), 1e-12],
] as const;
for (const [name, decompose, exact] of algorithms) {
  Deno.test(`${name} has orthonormal vectors and descending values that make the matrix again`, () => {
    for (const [rows, cols] of SHAPES) {
      const m = randomMatrix(rows, cols, rows * 100 + cols);
      const found = decompose(m);
      assertOrthonormal(found.u);
      assertOrthonormal(found.v);
      assertEquals([...found.s], [...found.s].sort((a, b) => b - a));
      assert(distance(fromSvd(found), m) < exact * 10, `${rows} × ${cols}`);
      assertAlmostEquals(frobenius(found.s), frobenius(m.values), 1e-12);
    }
  });
}

Deno.test("randomizedSvd() finds the largest singular values and their vectors", () => {
  const random = Random.fromSeed(3);
  const draw = () => random.next() / 2 ** 31 - 1;
  const s = Array.from({ length: 20 }, (_, i) => 2 ** -i);
  for (const [rows, cols] of [[40, 30], [30, 40]]) {
    const m = fromSvd({ u: orthonormal(rows, 20, 1), s, v: orthonormal(cols, 20, 2) });
    const found = randomizedSvd(m, 4, 2, draw);
    assertEquals([found.u.cols, found.s.length, found.v.cols], [4, 4, 4]);
    assertOrthonormal(found.u);
    assertOrthonormal(found.v);
    found.s.forEach((value, i) => assertAlmostEquals(value, s[i], 1e-12));
    const exact = svd(m);
    const nearest = fromSvd({ ...exact, s: exact.s.map((value, i) => i < 4 ? value : 0) });
    assert(distance(fromSvd(found), nearest) < 1e-10);
  }
});

Deno.test("svd() finds singular values that are known", () => {
  // AᵀA of [[3, 0], [4, 5]] has the eigenvalues 45 and 5.
  const { s } = svd(matrixOf(2, 2, [3, 0, 4, 5]));
  assertAlmostEquals(s[0], Math.sqrt(45), 1e-14);
  assertAlmostEquals(s[1], Math.sqrt(5), 1e-14);
  assertEquals([...svd(matrixOf(2, 3)).s], [0, 0]);
  // Small values beside large ones, which a Gram matrix would lose.
  const tiny = fromSvd({ u: orthonormal(9, 3, 1), s: [1, 1e-6, 1e-12], v: orthonormal(7, 3, 2) });
  assertAlmostEquals(svd(tiny).s[2] / 1e-12, 1, 1e-3);
});

Deno.test("svdOfProduct() decomposes B·A as svd() does the product", () => {
  for (const [out, rank, inputs] of [[20, 3, 15], [4, 6, 5], [10, 1, 10]]) {
    const b = randomMatrix(out, rank, 1);
    const a = randomMatrix(rank, inputs, 2);
    const whole = svd(product(b, a));
    const found = svdOfProduct(b, a);
    for (let i = 0; i < found.s.length; i++) assertAlmostEquals(found.s[i], whole.s[i], 1e-13);
    assert(distance(fromSvd(found), product(b, a)) < 1e-13);
  }
  // An adapter that was not trained: B is zero.
  const zero = svdOfProduct(matrixOf(6, 2), randomMatrix(2, 5, 3));
  assertEquals([...zero.s], [0, 0]);
});

Deno.test("symmetricEigen() finds eigenvalues that are known, and vectors that fit", () => {
  const path = matrixOf(3, 3, [2, -1, 0, -1, 2, -1, 0, -1, 2]);
  const { values } = symmetricEigen(path.values.slice(), 3);
  [2 + Math.SQRT2, 2, 2 - Math.SQRT2].forEach((known, i) =>
    assertAlmostEquals(values[i], known, 1e-14)
  );
  for (const n of [1, 2, 3, 17, 50]) {
    const m = randomMatrix(n, n, n);
    const symmetric = matrixOf(n, n, product(m, transposed(m)).values);
    const found = symmetricEigen(symmetric.values.slice(), n, n);
    assertOrthonormal(found.vectors);
    const back = fromSvd({ u: found.vectors, s: found.values, v: found.vectors });
    assert(distance(back, symmetric) < 1e-12);
    const few = symmetricEigen(symmetric.values.slice(), n, 1);
    assertEquals(few.vectors.cols, 1);
    assert(distance(few.vectors, firstColumns(found.vectors, 1)) < 1e-12);
  }
});

Deno.test("qr() has orthonormal columns even where those of the matrix depend", () => {
  for (
    const m of [
      randomMatrix(9, 4, 1),
      randomMatrix(3, 8, 2),
      matrixOf(5, 3),
      matrixOf(4, 2, [
        ...[1, 2],
        ...[2, 4],
        ...[3, 6],
        ...[4, 8],
      ]),
    ]
  ) {
    const { q, r } = qr(m);
    assertOrthonormal(q);
    assert(distance(product(q, r), m) < 1e-14);
    for (let i = 1; i < r.rows; i++) {
      for (let j = 0; j < i; j++) assertEquals(r.values[i * r.cols + j], 0);
    }
  }
});

Deno.test("gramOf() is M·Mᵀ for odd and even numbers of rows", () => {
  for (const [rows, cols] of [[1, 4], [4, 3], [7, 5]]) {
    const m = randomMatrix(rows, cols, rows);
    const gram = matrixOf(rows, rows, gramOf(m));
    assert(distance(gram, product(m, transposed(m))) < 1e-15);
  }
});

Deno.test("rowEchelon() of the worked example: rank 1, and rank + nullity = columns", () => {
  const { echelon, pivots, rank, nullity } = rowEchelon(
    matrixOf(3, 3, [1, 2, 3, 2, 4, 6, 3, 6, 9]),
  );
  assertEquals([rank, nullity, pivots], [1, 2, [0]]);
  assertEquals([...echelon.values], [3, 6, 9, 0, 0, 0, 0, 0, 0]);
});

Deno.test("rowEchelon() and numericalRank() agree on the rank of products", () => {
  for (const rank of [0, 1, 3, 5]) {
    const m = rank === 0
      ? matrixOf(6, 8)
      : product(randomMatrix(6, rank, rank), randomMatrix(rank, 8, rank + 9));
    const found = rowEchelon(m);
    assertEquals([found.rank, found.nullity], [rank, 8 - rank]);
    assertEquals(numericalRank(svd(m).s, 6, 8), rank);
  }
});

Deno.test("frobenius() neither overflows nor underflows", () => {
  assertAlmostEquals(frobenius([3e200, 4e200]) / 5e200, 1, 1e-15);
  assertAlmostEquals(frobenius([3e-200, 4e-200]) / 5e-200, 1, 1e-15);
  assertEquals(frobenius([]), 0);
});

Deno.test("matrixOf() and product() refuse sizes that do not fit", () => {
  assertThrows(() => matrixOf(2, 2, [1]), RangeError, "needs 4 values");
  assertThrows(
    () => product(matrixOf(2, 3), matrixOf(2, 3)),
    RangeError,
    "inner sizes are 3 and 2",
  );
});
