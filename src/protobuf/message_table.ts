/**
 * Protobuf messages from a table of fields, as `@bufbuild/protobuf` descriptors: without generated code.
 *
 * Names, numbers and types are those of a `.proto` file. Enumerations are declared as the `int32` they
 * are on the wire, so that a number newer than the table survives; oneofs as plain fields, whose wire
 * format is the same.
 */
import { create, createFileRegistry, type Message } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import {
  Edition,
  FeatureSet_RepeatedFieldEncoding,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

/** Types of fields that are not messages. */
export interface Scalars {
  float: number;
  double: number;
  int32: number;
  uint32: number;
  int64: bigint;
  uint64: bigint;
  sint64: bigint;
  bool: boolean;
  string: string;
  bytes: Uint8Array;
}

/**
 * Fields by message and name, `name: [number, type]`: a scalar or another message of the table; `T[]`
 * repeats, `T[packed]` repeats in one length-delimited record, which stays undecoded.
 */
export type MessageTable = Readonly<
  Record<string, Readonly<Record<string, readonly [number, string]>>>
>;

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : S;
type One<M extends MessageTable, P extends string, T extends string> = T extends keyof Scalars
  ? Scalars[T]
  : T extends keyof M & string ? ProtoOf<M, P, T>
  : never;
type Value<M extends MessageTable, P extends string, T extends string> = T extends
  `${string}[packed]` ? Uint8Array[]
  : T extends `${infer E}[${string}]` ? One<M, P, E>[]
  : T extends keyof M & string ? ProtoOf<M, P, T> | undefined
  : One<M, P, T>;
type TypeOf<F> = F extends readonly [number, infer T extends string] ? T : never;

/** A decoded message: bufbuild's shape, fields in camel case, scalars read as their default when unset. */
export type ProtoOf<M extends MessageTable, P extends string, N extends keyof M & string> =
  & Message<`${P}.${N}`>
  & {
    -readonly [F in keyof M[N] as Camel<F & string>]: Value<M, P, TypeOf<M[N][F]>>;
  };

const SCALAR_TYPE: Readonly<Record<keyof Scalars, FieldDescriptorProto_Type>> = {
  float: FieldDescriptorProto_Type.FLOAT,
  double: FieldDescriptorProto_Type.DOUBLE,
  int32: FieldDescriptorProto_Type.INT32,
  uint32: FieldDescriptorProto_Type.UINT32,
  int64: FieldDescriptorProto_Type.INT64,
  uint64: FieldDescriptorProto_Type.UINT64,
  sint64: FieldDescriptorProto_Type.SINT64,
  bool: FieldDescriptorProto_Type.BOOL,
  string: FieldDescriptorProto_Type.STRING,
  bytes: FieldDescriptorProto_Type.BYTES,
};

function fieldOf(
  packageName: string,
  [name, [number, type]]: [string, readonly [number, string]],
) {
  const [, element, repeat] = /^(\w+)(\[\w*\])?$/.exec(type)!;
  const scalar = repeat === "[packed]"
    ? FieldDescriptorProto_Type.BYTES
    : SCALAR_TYPE[element as keyof Scalars];
  return {
    name,
    number,
    label: repeat === undefined
      ? FieldDescriptorProto_Label.OPTIONAL
      : FieldDescriptorProto_Label.REPEATED,
    type: scalar ?? FieldDescriptorProto_Type.MESSAGE,
    typeName: scalar === undefined ? `.${packageName}.${element}` : "",
    // As proto2 writes repeated numbers, one record each; readers of proto3 take both forms.
    options: repeat === "[]" && scalar !== undefined
      ? { features: { repeatedFieldEncoding: FeatureSet_RepeatedFieldEncoding.EXPANDED } }
      : undefined,
  };
}

/**
 * The descriptors of a table's messages, for `fromBinary`, `toBinary` and `create`.
 *
 * Edition 2023 keeps proto2's explicit presence and checks that strings are UTF-8: other text would be
 * altered when a message is written again.
 */
export function describeMessages<const P extends string, M extends MessageTable>(
  packageName: P,
  table: M,
): <N extends keyof M & string>(name: N) => GenMessage<ProtoOf<M, P, N>> {
  const registry = createFileRegistry(
    create(FileDescriptorProtoSchema, {
      name: `${packageName}.proto`,
      package: packageName,
      syntax: "editions",
      edition: Edition.EDITION_2023,
      messageType: Object.entries(table).map(([name, fields]) => ({
        name,
        field: Object.entries(fields).map((field) => fieldOf(packageName, field)),
      })),
    }),
    () => undefined,
  );
  return <N extends keyof M & string>(name: N) =>
    registry.getMessage(`${packageName}.${name}`) as GenMessage<ProtoOf<M, P, N>>;
}
