import assert from 'node:assert/strict'
import { z } from 'zod'
import { nodeOf } from '../../src/admin/adhoc/offer.ts'
import type { Command } from '../../src/admin/command.ts'
import { COMMANDS_NS } from '../../src/core/adhoc.ts'
import { FORM_NS, form, readForm } from '../../src/xmpp/data-form.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Client } from './client.ts'

export type Filled = Readonly<Record<string, string | readonly string[]>>

export type Execution = {
  readonly node: string
  readonly sessionid?: string | undefined
  readonly action?: string
  readonly fields?: Filled
}

/** Asks for one step. Resolves to `<command/>`, or rejects with the conditions of the error. */
export async function execute(
  client: Client,
  to: string,
  { node, sessionid, action, fields }: Execution,
): Promise<Element> {
  const x = fields && submission(fields)
  const payload = el('command', { xmlns: COMMANDS_NS, node, sessionid, action }, x)
  const answer = await client.ask('set', to, payload)
  if (answer.attr('type') === 'result') {
    const command = answer.child('command', COMMANDS_NS)
    assert.ok(command, String(answer))
    return command
  }
  const children = answer.child('error')?.elements() ?? []
  const [condition, ...others] = children.map(({ name }) => name)
  const specific = others.find((name) => name !== 'text')
  throw Object.assign(new Error(String(answer)), { condition, specific })
}

export function submission(fields: Filled): Element {
  const all = Object.entries(fields).map(([name, value]) => ({ var: name, value }))
  return form({ type: 'submit', fields: all })
}

/** Gives a command as a chat client does, and makes JSON of the forms that come back. */
export async function giveByForm(
  client: Client,
  to: string,
  command: Command,
  args: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  const node = nodeOf(command.name)
  const first = await execute(client, to, { node })
  if (first.attr('status') === 'completed') return resultOf(first, command)
  const x = first.child('x', FORM_NS)
  assert.ok(x)
  const asked = readForm(x)
  const unasked = Object.keys(args).filter((name) => !asked.values.has(name))
  assert.deepEqual(unasked, [], command.name)
  const fields = Object.fromEntries(
    Object.entries(args).map(([name, value]) => [name, String(value).split('\n')]),
  )
  const sessionid = first.attr('sessionid')
  const last = await execute(client, to, { node, sessionid, action: 'complete', fields })
  assert.equal(last.attr('status'), 'completed')
  return resultOf(last, command)
}

type Schema = {
  readonly type?: string | readonly string[]
  readonly anyOf?: readonly Schema[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
}

function resultOf(completed: Element, { result }: Command): unknown {
  const { properties = {} } = z.toJSONSchema(result, { unrepresentable: 'any' }) as Schema
  const forms = completed.elements().filter(({ name }) => name === 'x')
  const made: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(properties)) {
    const columns = schema.items?.properties
    if (columns !== undefined) {
      const table = forms.find(
        (x) =>
          x
            .child('reported')
            ?.elements()
            .map((field) => field.attr('var'))
            .join() === Object.keys(columns).join(),
      )
      assert.ok(table, `no table for ${name}`)
      made[name] = table.elements('item').map((item) => rowOf(item, columns))
      continue
    }
    const holder = forms.find((x) => x.child('reported') === undefined)
    made[name] = holder && rowOf(holder, { [name]: schema })[name]
  }
  return made
}

function rowOf(row: Element, columns: Readonly<Record<string, Schema>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(columns).map(([name, schema]) => {
      const field = row.elements('field').find((each) => each.attr('var') === name)
      assert.ok(field, name)
      return [
        name,
        decoded(
          field.elements('value').map(({ text }) => text),
          schema,
        ),
      ]
    }),
  )
}

function decoded(values: readonly string[], schema: Schema): unknown {
  const types = (schema.anyOf ?? [schema]).flatMap(({ type }) => type)
  const [first = ''] = values
  if (types.includes('array') && !(values.length === 0 && types.includes('null'))) {
    return schema.items?.properties === undefined ? values : values.map((each) => JSON.parse(each))
  }
  if (types.includes('object')) return JSON.parse(first)
  if (values.length === 0 || (first === '' && types.includes('null'))) {
    return types.includes('null') ? null : ''
  }
  if (types.includes('boolean')) return first === '1'
  return types.includes('integer') || types.includes('number') ? Number(first) : first
}
