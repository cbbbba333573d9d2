import { type DataForm, form, formIn } from '../../xmpp/data-form.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { type PageRequest, readPageRequest } from '../../xmpp/rsm.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'
import { ALL_IDS, boundAt } from './ids.ts'

export const MAM_NS = 'urn:xmpp:mam:2'
export const FULL_TEXT_NS = 'urn:xmpp:fulltext:0'

const FULL_TEXT_FIELD = `{${FULL_TEXT_NS}}fulltext`
const GROUPCHAT_FIELD = 'include-groupchat'
const FIELDS = ['with', 'start', 'end', 'before-id', 'after-id', 'ids', GROUPCHAT_FIELD]

/** What a client asks of its archive. The bounds are ids, or what sorts among them, both excluded. */
export type ArchiveQuery = {
  readonly queryId: string | undefined
  readonly after: string
  readonly before: string
  /** The bounds without those of the page. */
  readonly within: { readonly after: string; readonly before: string }
  readonly peer: Jid | undefined
  /** All of these and no others. */
  readonly ids: readonly string[] | undefined
  readonly search: string | undefined
  readonly withGroupchat: boolean
  readonly page: PageRequest
  /** The newest of the page comes first. */
  readonly isFlipped: boolean
  /** Ids named in the query: the archive must have them. */
  readonly named: readonly string[]
}

/** The fields of XEP-0313 §4.1, and that of XEP-0431 where one can search. */
export function queryForm(isSearchable: boolean): Element {
  const fields = [
    { var: 'with', type: 'jid-single' },
    { var: 'start', type: 'text-single' },
    { var: 'end', type: 'text-single' },
    { var: 'before-id', type: 'text-single' },
    { var: 'after-id', type: 'text-single' },
    { var: 'ids', type: 'list-multi', validate: { datatype: 'xs:string', open: true } },
    { var: GROUPCHAT_FIELD, type: 'boolean' },
  ] as const
  const search = { var: FULL_TEXT_FIELD, type: 'text-single' } as const
  const all = isSearchable ? [...fields, search] : fields
  return el('query', { xmlns: MAM_NS }, form({ type: 'form', formType: MAM_NS, fields: all }))
}

/**
 * Reads `<query/>`. Throws `feature-not-implemented` for what we do not know (XEP-0313 §4.1.5), and
 * `bad-request` or `not-acceptable` for what is malformed.
 */
export function readQuery(query: Element, isSearchable: boolean): ArchiveQuery {
  if (query.attr('node') !== undefined) {
    throw new StanzaError('feature-not-implemented', { text: 'an account has one archive' })
  }
  const page = readPageRequest(query) ?? {}
  if (page.index !== undefined) {
    throw new StanzaError('feature-not-implemented', { text: 'pages are found by id' })
  }
  const filter = formIn(query)
  if (filter !== undefined) checkForm(filter, isSearchable)
  const id = (name: string) => filter?.text(name) || undefined
  const [afterId, beforeId] = [id('after-id'), id('before-id')]
  const { after: pageAfter, before: pageBefore } = page
  const ids = idsOf(filter)
  const search = filter?.text(FULL_TEXT_FIELD) || undefined
  if (ids !== undefined && search !== undefined) {
    throw new StanzaError('feature-not-implemented', { text: 'ids are not searched' })
  }
  const named = [afterId, beforeId, pageAfter, pageBefore, ...(ids ?? [])].filter(isNamed)
  const [start, end] = [filter?.dateTime('start'), filter?.dateTime('end')]
  const within = {
    after: greatest(afterId, start === undefined ? undefined : boundAt(start)),
    before: least(beforeId, end === undefined ? undefined : boundAt(end + 1)),
  }
  return {
    queryId: query.attr('queryid'),
    after: greatest(within.after, pageAfter),
    before: least(within.before, pageBefore || undefined),
    within,
    peer: filter?.jid('with'),
    ids,
    search,
    withGroupchat: filter?.boolean(GROUPCHAT_FIELD) ?? false,
    page,
    isFlipped: query.child('flip-page') !== undefined,
    named: [...new Set(named)],
  }
}

function checkForm(filter: DataForm, isSearchable: boolean): void {
  if (filter.type !== 'submit' || filter.formType !== MAM_NS) {
    throw new StanzaError('bad-request', { text: `FORM_TYPE must be ${MAM_NS}` })
  }
  for (const name of filter.values.keys()) {
    if (FIELDS.includes(name) || (isSearchable && name === FULL_TEXT_FIELD)) continue
    throw new StanzaError('feature-not-implemented', { text: `${name}: unknown field` })
  }
}

function idsOf(filter: DataForm | undefined): readonly string[] | undefined {
  const ids = filter?.values.get('ids')?.filter(isNamed)
  return ids === undefined || ids.length === 0 ? undefined : [...new Set(ids)].sort()
}

function isNamed(id: string | undefined): id is string {
  return id !== undefined && id !== ''
}

function greatest(...bounds: (string | undefined)[]): string {
  return bounds.reduce<string>(
    (most, bound) => (bound && bound > most ? bound : most),
    ALL_IDS.after,
  )
}

function least(...bounds: (string | undefined)[]): string {
  return bounds.reduce<string>(
    (most, bound) => (bound !== undefined && bound < most ? bound : most),
    ALL_IDS.before,
  )
}
