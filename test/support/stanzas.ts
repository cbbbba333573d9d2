import { type Element, el } from '../../src/xmpp/xml.ts'

let lastId = 0

/** An id that no other stanza of this test run has. */
export function newId(): string {
  return `s${++lastId}`
}

export function message(
  type: string | undefined,
  to: string | undefined,
  body?: string,
  ...more: readonly Element[]
): Element {
  const content = body === undefined ? [] : [el('body', {}, body)]
  return el('message', { type, to, id: newId() }, ...content, ...more)
}

export function chat(to: string | undefined, body: string, ...more: readonly Element[]): Element {
  return message('chat', to, body, ...more)
}

export function presence(type?: string, to?: string, ...children: readonly Element[]): Element {
  return el('presence', { type, to, id: newId() }, ...children)
}

export function iq(
  type: string | undefined,
  to: string | undefined,
  ...payload: readonly Element[]
): Element {
  return el('iq', { type, to, id: newId() }, ...payload)
}
