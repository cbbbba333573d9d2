import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Client } from './client.ts'

export const MAM = 'urn:xmpp:mam:2'
const RSM = 'http://jabber.org/protocol/rsm'

export type Fields = { readonly [name: string]: string | readonly string[] }

export type Wanted = {
  /** Of the form. */
  readonly fields?: Fields
  /** Of result set management: `{ max: '10', before: '' }`. */
  readonly page?: { readonly [name: string]: string }
  readonly isFlipped?: boolean
  readonly to?: string
}

export type Result = {
  readonly id: string
  readonly stamp: string
  readonly body: string
  readonly message: Element
}

export type Answer = {
  readonly results: readonly Result[]
  readonly bodies: readonly string[]
  readonly isComplete: boolean
  readonly first: string | undefined
  readonly last: string | undefined
  readonly count: string | undefined
  /** The position of the first. */
  readonly index: string | undefined
}

let lastQuery = 0

export function archiveQuery({ fields, page, isFlipped }: Wanted, queryid?: string): Element {
  return el(
    'query',
    { xmlns: MAM, queryid },
    fields && submitted(fields),
    page &&
      el('set', { xmlns: RSM }, ...Object.entries(page).map(([name, text]) => el(name, {}, text))),
    isFlipped && el('flip-page'),
  )
}

function submitted(fields: Fields): Element {
  const all = Object.entries({ FORM_TYPE: MAM, ...fields })
  return el(
    'x',
    { xmlns: 'jabber:x:data', type: 'submit' },
    ...all.map(([name, values]) =>
      el('field', { var: name }, ...[values].flat().map((value) => el('value', {}, value))),
    ),
  )
}

/** Asks a client's own archive. Fails unless it answers, or answers out of order. */
export async function askArchive(client: Client, wanted: Wanted = {}): Promise<Answer> {
  const queryid = `q${++lastQuery}`
  const answer = await client.ask('set', wanted.to, archiveQuery(wanted, queryid))
  const fin = answer.child('fin', MAM)
  if (fin === undefined) throw new Error(`no answer of an archive: ${answer}`)
  // Whatever came for this query is there: the answer is the last.
  const isResult = (element: Element) => element.child('result', MAM)?.attr('queryid') === queryid
  const results = client.inbox(isResult).map(read)
  client.forgets(isResult)
  const set = fin.child('set', RSM)
  return {
    results,
    bodies: results.map(({ body }) => body),
    isComplete: fin.attr('complete') === 'true',
    first: set?.child('first')?.text,
    last: set?.child('last')?.text,
    count: set?.child('count')?.text,
    index: set?.child('first')?.attr('index'),
  }
}

function read(element: Element): Result {
  const result = element.child('result', MAM) as Element
  const forwarded = result.child('forwarded', 'urn:xmpp:forward:0') as Element
  const message = forwarded.child('message', 'jabber:client') as Element
  return {
    id: result.attr('id') ?? '',
    stamp: forwarded.child('delay', 'urn:xmpp:delay')?.attr('stamp') ?? '',
    body: message.child('body')?.text ?? '',
    message,
  }
}
