/**
 * A release as an artifact of Mender, whose payload is the signed order and the release's pieces. The boxes'
 * update module (docs/rollout.md) gives them to `graft fleet follow`.
 *
 * Nothing is compressed, so that every size is known before a byte is written: pieces are read one at a time.
 *
 * Source: mender-artifact, "Mender artifact file format", version 3.
 */
import type { GivenOrder } from "../operator/fleet_desk.ts";
import { digestOf } from "../operator/release_files.ts";
import { piecesOf } from "../release/order.ts";
import type { FleetStore } from "../store/store.ts";
import { TAR_END, tarBytes, tarEntry, tarHeader, tarOf, tarPadding } from "./tar.ts";

/** Name of the update module. */
const MENDER_MODULE = "graft";

/** What an artifact says about itself. */
export interface MenderSettings {
  /** Name by which Mender knows it, and boxes that have installed it. */
  readonly artifactName: string;
  /** Kinds of devices that install it. */
  readonly deviceTypes: readonly string[];
}

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

/**
 * The bytes of an artifact, in parts.
 *
 * @throws {BadInputError} if a piece is missing or damaged
 * @throws {ServerError} if the store does not answer
 */
export async function* menderArtifact(
  store: FleetStore,
  { order, envelope }: GivenOrder,
  { artifactName, deviceTypes }: MenderSettings,
): AsyncGenerator<Uint8Array> {
  const pieces = piecesOf(order.target);
  const modifiedAt = Math.floor(Date.parse(order.issuedAt) / 1000);
  const version = json({ format: "mender", version: 3 });
  const header = tarOf(
    new Map([
      [
        "header-info",
        json({
          payloads: [{ type: MENDER_MODULE }],
          artifact_provides: { artifact_name: artifactName },
          artifact_depends: { device_type: deviceTypes },
        }),
      ],
      [
        "headers/0000/type-info",
        json({
          type: MENDER_MODULE,
          artifact_provides: { [`rootfs-image.${MENDER_MODULE}.version`]: artifactName },
          clears_artifact_provides: [`rootfs-image.${MENDER_MODULE}.*`],
        }),
      ],
    ]),
    modifiedAt,
  );
  const digests = new Map([
    ["data/0000/order.dsse.json", digestOf(envelope)],
    ...[...pieces.keys()].map((digest) => [`data/0000/${digest}`, digest] as const),
    ["header.tar", digestOf(header)],
    ["version", digestOf(version)],
  ]);
  const lines = [...digests].sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, digest]) => `${digest}  ${name}\n`);
  const manifest = new TextEncoder().encode(lines.join(""));
  const first = new Map([["version", version], ["manifest", manifest], ["header.tar", header]]);
  for (const [name, bytes] of first) yield* tarEntry(name, bytes, modifiedAt);
  const dataBytes = tarBytes([envelope.length, ...pieces.values()]);
  yield tarHeader("data/0000.tar", dataBytes, modifiedAt);
  yield* tarEntry("order.dsse.json", envelope, modifiedAt);
  for (const [digest, sizeBytes] of pieces) {
    yield* tarEntry(digest, await store.piece(digest, sizeBytes), modifiedAt);
  }
  yield TAR_END;
  yield tarPadding(dataBytes);
  yield TAR_END;
}
