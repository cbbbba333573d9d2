/** Arguments asked for by a form, and results shown as forms. */
import { z } from 'zod'
import { type AdhocCompletion, badPayload } from '../../core/adhoc.ts'
import {
  type DataForm,
  type FieldType,
  type FieldValue,
  type Field as FormField,
  form,
  table,
} from '../../xmpp/data-form.ts'
import { StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, serialise } from '../../xmpp/xml.ts'
import type { Command } from '../command.ts'
import { type Field, fieldsOf } from '../fields.ts'

/** Titles of addresses that a client can complete. */
const JIDS: ReadonlySet<string | undefined> = new Set(['account', 'session', 'contact'])

export function argsForm(command: Command): Element {
  return form({
    type: 'form',
    title: command.name,
    instructions: `${command.description}.`,
    fields: fieldsOf(command.args).map((field) => formField(field, command)),
  })
}

function formField(field: Field, { secret }: Pick<Command, 'secret'>): FormField {
  const { name, description, isRequired, choices, type } = field
  return {
    var: name,
    type: fieldType(field, name === secret),
    label: name.replaceAll('_', ' '),
    desc: description,
    required: isRequired,
    ...(choices && { options: choices }),
    ...(type === 'number' && { validate: { datatype: 'xs:integer' } }),
  }
}

function fieldType({ type, choices, title, isLong }: Field, isSecret: boolean): FieldType {
  if (isSecret) return 'text-private'
  if (type === 'flag') return 'boolean'
  if (choices !== undefined) return 'list-single'
  if (JIDS.has(title)) return 'jid-single'
  return isLong ? 'text-multi' : 'text-single'
}

/** What was filled in; what was left empty is not there. Throws `bad-payload`. */
export function argsOf(filled: DataForm, { args }: Pick<Command, 'args'>): Record<string, unknown> {
  const given: Record<string, unknown> = {}
  for (const field of fieldsOf(args)) {
    const value = filledIn(filled, field)
    if (value !== undefined) given[field.name] = value
  }
  return given
}

function filledIn(filled: DataForm, { name, type, isLong }: Field): unknown {
  try {
    if (type === 'flag') return filled.boolean(name) || undefined
    const text = isLong ? filled.lines(name) : filled.text(name)
    if (text === undefined || text === '') return undefined
    return type === 'number' ? Number(text) : text
  } catch (error) {
    throw badPayload(error instanceof Error ? error.message : String(error))
  }
}

/** Of a result, in octets: it is one stanza. */
const MAX_SHOWN = 200_000

/** A result that is not too large to be shown. Throws `resource-constraint`. */
export function completion(shown: AdhocCompletion): AdhocCompletion {
  const size = shown.payload.reduce((sum, each) => sum + serialise(each).length, 0)
  if (size <= MAX_SHOWN) return shown
  const text = 'too much for a form: ask for less, or on the command line'
  throw new StanzaError('resource-constraint', { text })
}

/** As far as JSON Schema is used in results. */
type Schema = {
  readonly type?: string | readonly string[]
  readonly anyOf?: readonly Schema[]
  readonly description?: string
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
}

/**
 * Plain values in one form, each list of objects in a form of its own as a table (XEP-0004 §3.4).
 * What is deeper than that is shown as JSON.
 */
export function resultForms({ name, result: schema }: Command, result: unknown): Element[] {
  const { properties = {} } = z.toJSONSchema(schema, { unrepresentable: 'any' }) as Schema
  const values = Object(result) as Record<string, unknown>
  const isTable = ({ items }: Schema) => items?.properties !== undefined
  const plain = Object.entries(properties).filter(([, each]) => !isTable(each))
  const tables = Object.entries(properties).filter(([, each]) => isTable(each))
  const forms: Element[] = []
  if (plain.length > 0) {
    const fields = plain.map(([key, each]) => ({ ...column(key, each), value: shown(values[key]) }))
    forms.push(form({ type: 'result', title: name, fields }))
  }
  for (const [key, { items }] of tables) {
    const columns = Object.entries(items?.properties ?? {}).map(([each, of]) => column(each, of))
    const rows = (values[key] ?? []) as Record<string, unknown>[]
    forms.push(table(columns, rows.map(cells)))
  }
  return forms
}

function column(name: string, schema: Schema): FormField {
  const { description } = schema
  const types = (schema.anyOf ?? [schema]).flatMap(({ type }) => type)
  return {
    var: name,
    type: types.includes('boolean')
      ? 'boolean'
      : types.includes('array')
        ? 'text-multi'
        : 'text-single',
    label: name.replaceAll('_', ' '),
    ...(description !== undefined && { desc: description }),
  }
}

function cells(row: Record<string, unknown>): Record<string, FieldValue | readonly FieldValue[]> {
  return Object.fromEntries(Object.entries(row).map(([key, value]) => [key, shown(value)]))
}

function shown(value: unknown): FieldValue | readonly FieldValue[] {
  if (value === null || value === undefined) return []
  if (Array.isArray(value)) return value.map((each) => shown(each) as FieldValue)
  return typeof value === 'object' ? JSON.stringify(value) : (value as FieldValue)
}
