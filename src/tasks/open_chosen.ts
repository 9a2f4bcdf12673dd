/** Opens the model that a configuration names, with the adapter that it names. */
import type { AdapterNote } from "../model/adapter_note.ts";
import { openAdapted, type OpenedModel, openModel } from "../model/open_model.ts";

/**
 * Opens a model, with an adapter injected into its graph, not merged, if one is named.
 *
 * @throws {BadInputError} for a file that is missing or not what it should be, naming it, and for an
 *   adapter that is unsound, of another base, or does not fit
 */
export function openChosen(
  { model, adapterPath }: { readonly model: string; readonly adapterPath?: string },
  onEvent: (event: AdapterNote) => void,
): Promise<OpenedModel> {
  if (adapterPath === undefined) return openModel(model);
  return openAdapted(model, adapterPath, (text) => onEvent({ kind: "adapter note", text }));
}
