import { inspect } from 'node:util'
import { Element } from '../../src/xmpp/xml.ts'

/** `undefined`: must be absent. A regular expression need only be found in the text. */
type Text = string | RegExp | undefined

/** What an element must have; what is not mentioned may be anything. */
export type Expected = {
  /** Of the element itself: message, presence, iq, r, features … */
  readonly name?: string
  readonly ns?: string
  readonly from?: Text
  readonly to?: Text
  readonly type?: Text
  readonly id?: Text
  readonly lang?: Text
  /** Text of the child of that name. */
  readonly body?: Text
  readonly subject?: Text
  readonly show?: Text
  readonly status?: Text
  readonly priority?: Text
  /** Condition of a stanza error. */
  readonly error?: Text
  /** RFC 6120 §8.3.2: cancel, modify, auth, wait, continue. */
  readonly errorType?: Text
  /** A child that must be there: its namespace, or an element it has at least to be like. */
  readonly child?: string | Element
  /** A child that must not be there, by namespace. */
  readonly without?: string
}

/** An element stands for all that have at least its attributes, text and children. */
export type Matcher = Expected | Element | ((element: Element) => boolean)

export function matches(element: Element, matcher: Matcher): boolean {
  if (typeof matcher === 'function') return matcher(element)
  if (matcher instanceof Element) return includes(element, matcher)
  for (const key of Object.keys(matcher) as (keyof Expected)[]) {
    if (!fits(element, key, matcher[key])) return false
  }
  return true
}

function fits(element: Element, key: keyof Expected, wanted: Expected[keyof Expected]): boolean {
  switch (key) {
    case 'child':
      return element
        .elements()
        .some((child) =>
          wanted instanceof Element ? includes(child, wanted) : child.ns === wanted,
        )
    case 'without':
      return !element.elements().some((child) => child.ns === wanted)
    default: {
      const found = field(element, key)
      return wanted instanceof RegExp ? found !== undefined && wanted.test(found) : found === wanted
    }
  }
}

function field(element: Element, key: Exclude<keyof Expected, 'child' | 'without'>) {
  switch (key) {
    case 'name':
      return element.name
    case 'ns':
      return element.ns
    case 'lang':
      return element.attr('xml:lang')
    case 'error':
      return element.attr('type') === 'error' ? conditionOf(element) : undefined
    case 'errorType':
      return element.child('error')?.attr('type')
    case 'from':
    case 'to':
    case 'type':
    case 'id':
      return element.attr(key)
    default:
      return element.child(key)?.text
  }
}

/** The condition of a stanza error, or of a stream error. */
export function conditionOf(element: Element): string | undefined {
  const error = element.name === 'error' ? element : element.child('error')
  return error?.elements().find(({ name }) => name !== 'text')?.name
}

/** Whether `element` has all that `wanted` has; an unbound namespace may be any. */
function includes(element: Element, wanted: Element): boolean {
  if (element.name !== wanted.name) return false
  if (wanted.ns !== '' && element.ns !== wanted.ns) return false
  for (const [name, value] of Object.entries(wanted.attributes)) {
    if (element.attr(name) !== value) return false
  }
  if (wanted.text.trim() !== '' && element.text !== wanted.text) return false
  return wanted
    .elements()
    .every((child) => element.elements().some((candidate) => includes(candidate, child)))
}

export function describe(matcher: Matcher): string {
  if (matcher instanceof Element) return `something like ${matcher}`
  if (typeof matcher === 'function') return matcher.toString()
  return inspect(matcher, { compact: true, breakLength: Number.POSITIVE_INFINITY, depth: 4 })
}
