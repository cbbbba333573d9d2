import { StanzaError } from './stanza-error.ts'
import { type Element, el } from './xml.ts'

export const RSM_NS = 'http://jabber.org/protocol/rsm'

/**
 * Which page of a result set is wanted (XEP-0059). At most one of `after`, `before` and `index` is
 * there; with none it is the first page.
 */
export type PageRequest = {
  /** The most items that may be returned; 0 asks for the count alone. */
  readonly max?: number
  /** The page starts behind this item. */
  readonly after?: string
  /** The page ends before this item; '' for the last page. */
  readonly before?: string
  /** The page starts at this position, counted from 0. */
  readonly index?: number
}

/** What is told about the page that is returned. An empty page has neither `first` nor `last`. */
export type Page = {
  readonly first?: string | undefined
  /** The position of the first item in the whole set, counted from 0. */
  readonly firstIndex?: number | undefined
  readonly last?: string | undefined
  /** Items in the whole set; may be approximate. */
  readonly count?: number | undefined
}

/**
 * The request in the `<set/>` child of `parent`; undefined when there is none. Throws `bad-request`
 * for what XEP-0059 does not allow: numbers that are none, repeated children, and two starting points
 * at once. An empty `<after/>` names no item and counts as absent; unknown children are ignored.
 */
export function readPageRequest(parent: Element): PageRequest | undefined {
  const set = only(parent, 'set')
  if (set === undefined) return undefined

  const max = count(only(set, 'max'))
  const index = count(only(set, 'index'))
  const after = only(set, 'after')?.text || undefined
  const before = only(set, 'before')?.text
  if ([after, before, index].filter((start) => start !== undefined).length > 1) {
    throw new StanzaError('bad-request', { text: 'more than one of after, before and index' })
  }
  return {
    ...(max !== undefined && { max }),
    ...(after !== undefined && { after }),
    ...(before !== undefined && { before }),
    ...(index !== undefined && { index }),
  }
}

/** The `<set/>` of an answer. */
export function pageElement({ first, firstIndex, last, count }: Page): Element {
  return el(
    'set',
    { xmlns: RSM_NS },
    first !== undefined && el('first', { index: firstIndex }, first),
    last !== undefined && el('last', {}, last),
    count !== undefined && el('count', {}, String(count)),
  )
}

function only(parent: Element, name: string): Element | undefined {
  const [found, another] = parent.elements(name, RSM_NS)
  if (another !== undefined)
    throw new StanzaError('bad-request', { text: `${name}: more than one` })
  return found
}

const MAX_INT = 0x7fff_ffff

/** A non-negative `xs:int`. */
function count(element: Element | undefined): number | undefined {
  if (element === undefined) return undefined
  const text = element.text.trim()
  const number = Number(text)
  if (!/^\d+$/.test(text) || number > MAX_INT) {
    throw new StanzaError('bad-request', { text: `${element.name}: not a count` })
  }
  return number
}
