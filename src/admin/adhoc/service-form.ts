/** What all forms of XEP-0133 have in common. */
import { type AdhocCommand, type AdhocCompletion, badPayload } from '../../core/adhoc.ts'
import { type DataForm, type Field, form } from '../../xmpp/data-form.ts'
import type { Element } from '../../xmpp/xml.ts'
import { completion } from './forms.ts'

export const ADMIN_NS = 'http://jabber.org/protocol/admin'

export type Offered = Omit<AdhocCommand, 'isAllowed'>

export const nodeOf = (name: string) => `${ADMIN_NS}#${name}`

/** Begins with a form, and ends with what comes of it. */
export function asks(
  title: string,
  fields: readonly Field[],
  submit: (form: DataForm) => Promise<AdhocCompletion>,
) {
  const content = { type: 'form', formType: ADMIN_NS, title, fields } as const
  return () => ({
    form: form({ ...content, instructions: 'Fill out this form.' }),
    isLast: true,
    submit: async (filled: DataForm) => {
      if (filled.formType !== undefined && filled.formType !== ADMIN_NS) {
        throw badPayload(`expected a FORM_TYPE of ${ADMIN_NS}`)
      }
      return completion(await submit(filled))
    },
  })
}

export function result(...fields: readonly Field[]): Element {
  return form({ type: 'result', formType: ADMIN_NS, fields })
}

export const DONE: AdhocCompletion = { payload: [] }

/** Throws `bad-payload` unless it is filled in. */
export function filledIn(given: DataForm, name: string): string {
  const text = read(() => given.text(name))
  if (text) return text
  throw badPayload(`${name}: expected a value`)
}

/** What a form cannot mean is the requester's mistake. */
export function read<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw badPayload(error instanceof Error ? error.message : String(error))
  }
}

/** Throws `bad-payload` unless there is a text in its lines. */
export function linesIn(given: DataForm, name: string): string {
  const text = read(() => given.lines(name)) ?? ''
  if (text.trim() === '') throw badPayload(`${name}: expected a text`)
  return text
}
