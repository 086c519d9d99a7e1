/**
 * ComfyUI repeats what a node refuses for every input that the node looks at. What our nodes refuse
 * is told at the inputs that its words name; where they name none, once, at the node.
 */

import { api } from "../../scripts/api.js";

const queuePrompt = api.queuePrompt;
api.queuePrompt = async function () {
  try {
    const answer = await queuePrompt.apply(this, arguments);
    narrow(answer?.node_errors);
    return answer;
  } catch (error) {
    narrow(error.response?.node_errors);
    throw error;
  }
};

function narrow(nodes) {
  for (const node of Object.values(nodes ?? {}))
    if (node.class_type?.startsWith("BatchSDXL_")) node.errors = narrowed(node.errors);
}

function narrowed(errors) {
  const refused = errors.filter(({ type }) => type === "custom_validation_failed");
  if (!refused.length) return errors;
  const told = refused.filter((error) => said(error).split(/\W+/).includes(named(error)));
  const at = told.length ? told : [{ ...refused[0], details: said(refused[0]), extra_info: {} }];
  return [...errors.filter((error) => !refused.includes(error)), ...at];
}

function named(error) {
  return error.extra_info.input_name;
}

/** The words of the node: ComfyUI puts the input's name before them. */
function said(error) {
  return error.details.slice(named(error).length + " - ".length);
}
