/** Puts a release into a fleet's store, gives the order of its first wave, and removes older pieces. */
import { StorageError } from "../../errors.ts";
import type { SigningKey } from "../release/keys.ts";
import {
  isReleaseName,
  type Order,
  PIECE_BYTES,
  piecesOf,
  type Release,
  type WavePolicy,
} from "../release/order.ts";
import type { Wave } from "../release/waves.ts";
import { BadInputError } from "../../errors.ts";
import type { FleetDesk } from "./fleet_desk.ts";
import { publishOrder, releasesOf } from "./orders.ts";
import { describeFiles, digestOf, type Source } from "./release_files.ts";

interface PublishRequest {
  readonly name: string;
  readonly source: Source;
  readonly waves: readonly Wave[];
  readonly policy: WavePolicy;
}

/** Releases whose pieces stay in the store: the newest, and those that a rollback returns to. */
const KEPT_RELEASES = 4;

/**
 * Publishes a release.
 *
 * @param onPiece called with the number of pieces that are in the store, and their total
 * @returns the order of its first wave
 */
export async function publish(
  desk: FleetDesk,
  key: SigningKey,
  { name, source, waves, policy }: PublishRequest,
  onPiece: (done: number, total: number) => void = () => {},
): Promise<Order> {
  if (!isReleaseName(name)) {
    throw new BadInputError(
      `A release's name has at most 64 letters, digits and . _ -: current value is "${name}"`,
    );
  }
  const { store } = desk;
  await store.create();
  const publishedAt = new Date().toISOString();
  const release: Release = { name, kind: source.kind, publishedAt, files: describeFiles(source) };
  const stored = new Set(await store.pieces());
  const total = piecesOf(release).size;
  let done = 0;
  for (const [i, { pieces }] of release.files.entries()) {
    for (const [j, digest] of pieces.entries()) {
      if (!stored.has(digest)) {
        const bytes = source.files[i].read(j * PIECE_BYTES);
        if (digestOf(bytes) !== digest) {
          throw new StorageError(
            `${source.files[i].name} was changed while it was read: publish again`,
          );
        }
        await store.putPiece(digest, bytes);
        stored.add(digest);
      }
      onPiece(Math.min(++done, total), total);
    }
  }
  const before = await desk.given();
  const order = publishOrder(
    before?.order,
    { fleet: desk.fleet, target: release, waves, policy },
    await desk.moment(),
  );
  await desk.give(order, before?.revision, key);
  await removeOldPieces(desk);
  return order;
}

/** Removes pieces that belong to none of the newest releases. */
async function removeOldPieces(desk: FleetDesk): Promise<void> {
  const kept = releasesOf(await desk.history()).slice(0, KEPT_RELEASES);
  const needed = new Set(kept.flatMap((release) => [...piecesOf(release).keys()]));
  for (const digest of await desk.store.pieces()) {
    if (!needed.has(digest)) await desk.store.removePiece(digest);
  }
}
