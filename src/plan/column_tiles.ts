/**
 * Computes wide values a few columns at a time. The inside of a gated layer is wider than a core's cache, so
 * each elementwise pass reads all of it from slower memory and writes it back. In tiles of columns, from the
 * product that makes them to the codes that they are rounded to, each pass finds in the cache what the one
 * before has written. Only the largest numbers of rows are taken over all tiles. Every result is the same to
 * the bit.
 */
import { int, intAttribute } from "../graph/attributes.ts";
import { entriesOf, int64Of } from "../graph/extents.ts";
import { producersOf } from "../graph/facts.ts";
import { over, productOf, times } from "../graph/extent_arithmetic.ts";
import type { Extent } from "../graph/size.ts";
import type { Tensor } from "../graph/tensor.ts";
import type { Node } from "../graph/types.ts";
import { sameDims } from "../ops/broadcast.ts";
import { isElementwise } from "../ops/registry.ts";
import { transposedMatrix } from "../ops/transpose.ts";
import { isRoundedProduct, type Piece } from "./piece.ts";

/** Number of columns from which tiling is worthwhile. */
const LEAST_COLUMNS = 1024;
/** Approximate columns per tile: with 300 rows, half a megabyte. */
const TILE_COLUMNS = 384;
const MOST_TILES = 8;
/** Rotations mix columns within blocks of at most this size; tiles are whole blocks. */
const BLOCK = 32;

const REDUCTIONS: ReadonlyMap<string, string> = new Map([
  ["ReduceMax", "Max"],
  ["ReduceMin", "Min"],
]);

/**
 * @param piece nodes in topological order
 * @param outputs values that keep their names
 * @returns nodes that compute the same outputs; some may no longer be needed
 */
export function withColumnTiles(piece: Piece, outputs: ReadonlySet<string>): Piece {
  const products = piece.nodes.filter(isRoundedProduct).map(({ outputs: [y] }) => piece.dims(y));
  const matrices = new Map(
    products.filter(({ length }) => length === 2).map((dims) => [dims.join(), dims]),
  );
  let now = piece;
  for (const [rows, columns] of matrices.values()) {
    if (typeof columns !== "number") continue;
    const count = tilesOf(columns);
    if (count > 1) now = new Tiling(now, outputs, { rows, columns, count }).result ?? now;
  }
  return now;
}

/** The number of tiles; 1 where tiling is not worthwhile or the columns do not divide. */
function tilesOf(columns: number): number {
  if (columns < LEAST_COLUMNS || columns % BLOCK !== 0) return 1;
  const blocks = columns / BLOCK;
  const fits = (count: number) => blocks % count === 0;
  const wanted = Math.min(MOST_TILES, Math.ceil(columns / TILE_COLUMNS));
  const counts = Array.from({ length: MOST_TILES - 1 }, (_, i) => i + 2).filter(fits);
  return counts.sort((a, b) => Math.abs(a - wanted) - Math.abs(b - wanted))[0] ?? 1;
}

/** Everything computed from the products of one width. */
class Tiling {
  /** `undefined` where something else needs a value whole that would be in tiles. */
  readonly result: Piece | undefined;
  readonly #piece: Piece;
  readonly #rows: Extent;
  readonly #columns: number;
  readonly #count: number;
  readonly #producers: ReadonlyMap<string, Node>;
  /** Values that exist only in tiles: as [..., columns], or as rows of blocks. */
  readonly #inTiles = new Set<string>();
  /** Nodes that are computed tile by tile. */
  readonly #tiled = new Set<Node>();
  readonly #constants: Map<string, Tensor>;
  readonly #dims = new Map<string, readonly Extent[]>();
  /** Names of the tiles' parts of values that are whole. */
  readonly #parts = new Map<string, readonly string[]>();

  constructor(
    piece: Piece,
    outputs: ReadonlySet<string>,
    { rows, columns, count }: {
      readonly rows: Extent;
      readonly columns: number;
      readonly count: number;
    },
  ) {
    this.#piece = piece;
    this.#rows = rows;
    this.#columns = columns;
    this.#count = count;
    this.#producers = producersOf(piece.nodes);
    this.#constants = new Map(piece.constants);
    for (const node of piece.nodes) {
      const reads = node.inputs.some((input) => this.#inTiles.has(input));
      if (!reads && !isRoundedProduct(node)) continue;
      const made = this.#madeInTiles(node);
      if (made === undefined) {
        if (reads) return;
        continue;
      }
      this.#tiled.add(node);
      if (made === "tiles") this.#inTiles.add(node.outputs[0]);
    }
    const whole = [...this.#inTiles].some((value) => outputs.has(value)) ||
      piece.nodes.some((node) =>
        !this.#tiled.has(node) && node.inputs.some((input) => this.#inTiles.has(input))
      );
    // Without elementwise arithmetic after a product, there is nothing to keep in the cache.
    const passes = [...this.#tiled].some(isElementwise);
    if (whole || !passes) return;
    const nodes = piece.nodes.flatMap((node) => this.#tiled.has(node) ? this.#inParts(node) : node);
    this.result = {
      nodes,
      constants: this.#constants,
      dims: (name) => this.#dims.get(name) ?? piece.dims(name),
    };
  }

  /**
   * What a node that reads tiles, or is a product, makes: tiles again, or a whole put together from the
   * results of all tiles; `undefined` where it cannot be computed tile by tile.
   */
  #madeInTiles(node: Node): "tiles" | "whole" | undefined {
    const { opType, domain, inputs, outputs: [y] } = node;
    const tiles = (value: string) => this.#inTiles.has(value);
    const inTiles = (may: boolean) => may ? "tiles" : undefined;
    if (isRoundedProduct(node)) return inTiles(this.#isWide(y) && !inputs.some(tiles));
    if (domain !== "") return undefined;
    if (isElementwise(node)) {
      const given = inputs.filter((input) => input !== "");
      const comes = given.every((input) => tiles(input) || this.#comesInParts(input));
      if (!comes || !this.#isWide(y)) return undefined;
      for (const input of given) {
        if (!tiles(input) && this.#isWide(input)) this.#restoreInTiles(input);
      }
      return "tiles";
    }
    switch (opType) {
      case "Reshape":
        return inTiles(this.#isWide(y) || this.#isBlocks(y));
      case "MatMul":
        return inTiles(this.#isBlocks(y) && tiles(inputs[0]) && !tiles(inputs[1]));
      case "ReduceMax":
      case "ReduceMin":
        return this.#isOverColumns(node) ? "whole" : undefined;
      case "QuantizeLinear": {
        const isKnown = this.#isByRow(node) || this.#isByOne(node);
        return isKnown && !inputs.slice(1).some(tiles) ? "whole" : undefined;
      }
    }
  }

  /** Whether a value has all rows and columns, whichever axes the rows are on. */
  #isWide(value: string): boolean {
    const dims = this.#piece.dims(value);
    return dims.length > 1 && dims.at(-1) === this.#columns &&
      productOf(dims) === times(this.#rows, this.#columns);
  }

  #isMatrix(value: string): boolean {
    return sameDims(this.#piece.dims(value), [this.#rows, this.#columns]);
  }

  /** Whether a value has one number per row, next to columns. */
  #isByRows(value: string): boolean {
    const dims = this.#piece.dims(value);
    return dims.length > 1 && dims.at(-1) === 1 && productOf(dims) === this.#rows;
  }

  /** Whether a value consists of rows of blocks of columns. */
  #isBlocks(value: string): boolean {
    const dims = this.#piece.dims(value);
    const [rows, width] = dims;
    return dims.length === 2 && typeof width === "number" &&
      times(rows, width) === times(this.#rows, this.#columns) &&
      this.#columns / this.#count % width === 0;
  }

  /** Whether each tile's part of a whole operand is known: one number for all, rows, columns, or codes. */
  #comesInParts(value: string): boolean {
    const isOne = productOf(this.#piece.dims(value)) === 1;
    if (isOne || this.#isByRows(value) || this.#isByColumn(value)) return true;
    const producer = this.#producers.get(value);
    return producer?.opType === "DequantizeLinear" &&
      (this.#isByRow(producer) || this.#isByOne(producer));
  }

  /** Whether a node rounds rows, or restores them, each by its own scale. */
  #isByRow(node: Node): boolean {
    const [x, scale] = node.inputs;
    return this.#isMatrix(x) && sameDims(this.#piece.dims(scale), [this.#rows]) &&
      intAttribute(node, "axis", 1) === 0;
  }

  /** Whether a node rounds a wide value, or restores it, by a single scale. */
  #isByOne({ inputs: [x, scale] }: Node): boolean {
    return this.#isWide(x) && this.#piece.dims(scale).length === 0;
  }

  /** Whether a reduction leaves one number per row. */
  #isOverColumns({ inputs: [x, axes], outputs: [y] }: Node): boolean {
    const constant = this.#piece.constants.get(axes);
    const said = constant && entriesOf(constant);
    return this.#isMatrix(x) && sameDims(this.#piece.dims(y), [this.#rows]) &&
      said !== undefined && sameDims(said, [1]);
  }

  /** Codes are restored tile by tile as well. */
  #restoreInTiles(value: string): void {
    this.#inTiles.add(value);
    this.#tiled.add(this.#producers.get(value)!);
  }

  /** A node's copies, one per tile, and the nodes that join their results. */
  #inParts(node: Node): readonly Node[] {
    const [y] = node.outputs;
    const before: Node[] = [];
    const inputsOf = this.#inputsOf(node, before);
    const dims = this.#tileDims(y);
    const copies = this.#names(y).map((name, tile): Node => {
      this.#dims.set(name, dims);
      return { ...node, name, inputs: inputsOf(tile), outputs: [name] };
    });
    const joining = joined(node, dims.length - 1);
    if (joining === undefined) return [...before, ...copies];
    const parts = copies.map(({ outputs: [name] }) => name);
    // Later nodes that want tiles of the whole's columns get the existing ones.
    if (joining.opType === "Concat") this.#parts.set(y, parts);
    const whole = { ...joining, name: y, domain: "", inputs: parts, outputs: [y] };
    return [...before, ...copies, whole];
  }

  /** Inputs of a node's copies; nodes that split whole values are added to `before`. */
  #inputsOf(node: Node, before: Node[]): (tile: number) => readonly string[] {
    const { opType, inputs, outputs: [y] } = node;
    if (isRoundedProduct(node)) {
      const [x, weight, xScale, ...more] = inputs;
      const matrices = this.#matrices(weight, before);
      const ofColumns = more.map((value) =>
        value !== "" && this.#isByColumn(value) ? this.#apart(value, 0, before) : undefined
      );
      return (tile) => {
        const rest = more.map((value, i) => ofColumns[i]?.[tile] ?? value);
        return [x, matrices[tile], xScale, ...rest];
      };
    }
    if (opType === "Reshape") {
      const dims = this.#tileDims(y);
      const shape = `a tile's shape [${dims}]`;
      this.#constants.set(shape, int64Of([dims.length], dims));
      this.#dims.set(shape, [dims.length]);
      const names = this.#names(inputs[0]);
      return (tile) => [names[tile], shape];
    }
    const parts = inputs.map((input) => {
      if (input === "") return undefined;
      if (this.#inTiles.has(input)) return this.#names(input);
      if (this.#isWide(input)) {
        return this.#apart(input, this.#piece.dims(input).length - 1, before);
      }
      const isByColumn = isElementwise(node) && this.#isByColumn(input);
      return isByColumn ? this.#apart(input, 0, before) : undefined;
    });
    return (tile) => inputs.map((input, i) => parts[i]?.[tile] ?? input);
  }

  #isByColumn(value: string): boolean {
    return sameDims(this.#piece.dims(value), [this.#columns]);
  }

  #names(value: string): readonly string[] {
    return Array.from({ length: this.#count }, (_, tile) => `${value}, tile ${tile}`);
  }

  /** Dimensions of one tile of a value; a value with one number per row keeps its own. */
  #tileDims(value: string): readonly Extent[] {
    const dims = this.#piece.dims(value);
    if (this.#isWide(value)) return dims.with(-1, this.#columns / this.#count);
    return dims.length === 2 ? [over(dims[0], this.#count)!, dims[1]] : dims;
  }

  /** The parts of a whole value, which is split at the first request. */
  #apart(value: string, axis: number, before: Node[]): readonly string[] {
    const known = this.#parts.get(value);
    if (known !== undefined) return known;
    const outputs = this.#names(value);
    this.#parts.set(value, outputs);
    const whole = this.#piece.dims(value);
    const dims = whole.with(axis, over(whole[axis], this.#count)!);
    for (const name of outputs) this.#dims.set(name, dims);
    const attributes = { axis: int(axis), num_outputs: int(this.#count) };
    before.push({
      name: outputs[0],
      opType: "Split",
      domain: "",
      inputs: [value],
      outputs,
      attributes,
    });
    return outputs;
  }

  /** A weight's columns; for one that is transposed here, its rows, one tile after the other. */
  #matrices(weight: string, before: Node[]): readonly string[] {
    const transposition = this.#producers.get(weight);
    const matrix = transposedMatrix(transposition);
    if (matrix === undefined) return this.#apart(weight, 1, before);
    const known = this.#parts.get(weight);
    if (known !== undefined) return known;
    const rows = this.#apart(matrix, 0, before);
    const names = this.#names(weight);
    this.#parts.set(weight, names);
    const [columns, width] = this.#dims.get(rows[0])!;
    for (const [tile, name] of names.entries()) {
      this.#dims.set(name, [width, columns]);
      before.push({ ...transposition!, name, inputs: [rows[tile]], outputs: [name] });
    }
    return names;
  }
}

/** The nodes that join the tiles' results where others read the whole. */
function joined(
  { opType }: Node,
  columnAxis: number,
): Pick<Node, "opType" | "attributes"> | undefined {
  const reduction = REDUCTIONS.get(opType);
  if (reduction !== undefined) return { opType: reduction, attributes: {} };
  return opType === "QuantizeLinear"
    ? { opType: "Concat", attributes: { axis: int(columnAxis) } }
    : undefined;
}
