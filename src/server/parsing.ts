import type { Config } from '../config.ts'
import type { ElementLimits } from '../xmpp/xml-outline.ts'

/** Limits of each element that anybody sends. */
export type Parsing = ElementLimits

export function parsingOf({ limits: { max_depth, max_attributes } }: Config): Parsing {
  return { maxDepth: max_depth, maxAttributes: max_attributes }
}
