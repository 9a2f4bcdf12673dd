/** What must be equal for trials to be comparable: base and data by their contents. */
import { columnsOf } from "../../data/data_config.ts";
import { findData } from "../../data/io/data_folder.ts";
import { FileSource } from "../../data/io/file_source.ts";
import { Dataset } from "../../data/mod.ts";
import { ParameterError } from "../../errors.ts";
import type { Model } from "../../graph/types.ts";
import { modelDigest } from "../../lora/digest.ts";
import { withCarried } from "../../model/carried_model.ts";
import type { RankSearchConfig } from "./settings.ts";

/**
 * Digests of the base, the training rows and the validation rows.
 *
 * @throws {ParameterError} if there is nothing to train or to validate on
 * @throws {BadInputError} for data that cannot be read
 */
export async function searchIdentity(
  model: Model,
  config: RankSearchConfig,
): Promise<readonly string[]> {
  const { train, valid } = findData(withCarried(config.data));
  if (train === undefined) {
    throw new ParameterError(
      "data",
      `${config.data} has no train.jsonl or train.csv to train on`,
    );
  }
  if (valid === undefined && config.validationSplit === 0) {
    throw new ParameterError(
      "data",
      (name) =>
        `${config.data} has nothing to validate on: a search needs a valid file in the data folder, ` +
        `or ${name("validationSplit", 0.1)}`,
    );
  }
  const digestOf = async (path: string) => {
    using source = FileSource.open(path);
    return (await Dataset.open(source, { columns: columnsOf(config) })).digest;
  };
  const digests = [await digestOf(train)];
  if (valid !== undefined) digests.push(await digestOf(valid));
  return [modelDigest(model), ...digests];
}
