/** What the library says of its parameters, in the command line's words. */
import { asFlag } from "../config/parameter.ts";
import { type Message, type NameParameter, worded } from "../errors.ts";

/**
 * Parameters as the command line has them: most are flags of the same name. One of other work, as
 * `train.adapterType`, is a flag of that verb.
 */
export const asCommandLine: NameParameter = (parameter, value) => {
  if (parameter === "maxTokens") return "-n";
  if (parameter === "method" && value === "float") return "--dequantize";
  const [verb, key] = parameter.split(".");
  return key === undefined ? asFlag(verb, value) : `graft ${verb} ${asFlag(key, value)}`;
};

/** A message of the library as the command line words it. */
export const inFlags = (message: Message): string => worded(message, asCommandLine);
