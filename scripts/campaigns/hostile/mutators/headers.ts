/** safetensors files whose header says something else, in sound JSON. */
import { concat } from "@std/bytes/concat";
import { pick, type Random } from "../random.ts";
import { HOSTILE_WORDS } from "./words.ts";

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: number[];
}

type Header = [name: string, entry: Entry][];

const SIZES = [0, 1, 2, 7, -1, 1000, 2 ** 31, 2 ** 40, 2 ** 53, 1e300];

function changeEntry(header: Header, other: Header, random: Random): void {
  const at = random(header.length);
  const [name, entry] = header[at];
  const shape = [...entry.shape];
  switch (random(9)) {
    case 0:
      header[at] = [pick(random, HOSTILE_WORDS), entry];
      break;
    case 1:
      header[at] = [`base_model.model.${pick(random, HOSTILE_WORDS)}.lora_A.weight`, entry];
      break;
    case 2:
      shape.splice(random(shape.length + 1), random(2), pick(random, SIZES));
      header[at] = [name, { ...entry, shape }];
      break;
    case 3: // as many elements, in other dimensions
      header[at] = [name, { ...entry, shape: shape.toReversed() }];
      break;
    case 4:
      header[at] = [name, {
        ...entry,
        shape: [...shape, ...new Array(pick(random, [1, 100, 50_000])).fill(1)],
      }];
      break;
    case 5: {
      const offsets = entry.data_offsets.map((offset) =>
        offset + pick(random, [0, 0, 4, -4, 2 ** 40])
      );
      header[at] = [name, { ...entry, data_offsets: offsets }];
      break;
    }
    case 6: {
      const swapped = random(header.length);
      [header[at], header[swapped]] = [[name, header[swapped][1]], [header[swapped][0], entry]];
      break;
    }
    case 7:
      header[at] = [name, pick(random, other)[1]];
      break;
    default:
      header[at] = [name, {
        ...entry,
        dtype: pick(random, ["F16", "BF16", "F64", "I8", "U8", "BOOL"]),
      }];
  }
}

/** Changes entries of the header, and sometimes its length; the data stays. */
export function otherHeader(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const seed = pick(random, seeds);
  const [header, other] = [seed, pick(random, seeds)].map(headerOf);
  for (let i = 1 + random(3); i > 0; i--) changeEntry(header, other, random);
  const text = `{${
    header.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`)
  }}`;
  const bytes = new TextEncoder().encode(text);
  const length = new Uint8Array(8);
  const said = bytes.byteLength + (random(4) === 0 ? pick(random, [1, -1, 8, 1 << 20]) : 0);
  new DataView(length.buffer).setBigUint64(0, BigInt(Math.max(0, said)), true);
  return concat([length, bytes, dataOf(seed)]);
}

const headerBytes = (file: Uint8Array) =>
  Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));

function headerOf(file: Uint8Array): Header {
  const text = new TextDecoder().decode(file.subarray(8, 8 + headerBytes(file)));
  return Object.entries(JSON.parse(text)).filter(([name]) => name !== "__metadata__") as Header;
}

const dataOf = (file: Uint8Array) => file.subarray(8 + headerBytes(file));
