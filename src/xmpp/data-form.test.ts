import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FORM_NS, type FormContent, form, formIn, readForm, table } from './data-form.ts'
import { parseJid } from './jid.ts'
import { StanzaError } from './stanza-error.ts'
import { el } from './xml.ts'

const juliet = parseJid('juliet@example.com')
const romeo = parseJid('romeo@example.net')

function isBadRequest(error: unknown): boolean {
  return error instanceof StanzaError && error.condition === 'bad-request'
}

function isNotAcceptable(error: unknown): boolean {
  return error instanceof StanzaError && error.condition === 'not-acceptable'
}

/** A submission with these values, as a client sends it. */
function submitted(fields: Readonly<Record<string, readonly string[]>>) {
  const elements = Object.entries(fields).map(([name, values]) =>
    el('field', { var: name }, ...values.map((value) => el('value', {}, value))),
  )
  return readForm(el('x', { xmlns: FORM_NS, type: 'submit' }, ...elements))
}

describe('reading', () => {
  test('gives type, purpose and values', () => {
    const read = submitted({
      FORM_TYPE: ['urn:xmpp:mam:2'],
      with: ['a'],
      many: ['b', 'c'],
      none: [],
    })
    assert.equal(read.type, 'submit')
    assert.equal(read.formType, 'urn:xmpp:mam:2')
    assert.deepEqual(Object.fromEntries(read.values), { with: ['a'], many: ['b', 'c'], none: [] })
  })

  test('takes FORM_TYPE of forms and results only when hidden', () => {
    const field = { var: 'FORM_TYPE', value: 'urn:x' }
    assert.equal(readForm(form({ type: 'form', fields: [field] })).formType, undefined)
    assert.equal(readForm(form({ type: 'form', formType: 'urn:x' })).formType, 'urn:x')
    assert.equal(readForm(form({ type: 'submit', fields: [field] })).formType, 'urn:x')
  })

  test('leaves out fields without name', () => {
    const x = form({ type: 'submit', fields: [{ type: 'fixed', value: 'Section 1' }] })
    assert.equal(readForm(x).values.size, 0)
  })

  test('refuses what is no form', () => {
    const twice = [{ var: 'a' }, { var: 'a' }]
    assert.throws(() => readForm(el('x', { xmlns: FORM_NS })), isBadRequest)
    assert.throws(() => readForm(el('x', { xmlns: FORM_NS, type: 'set' })), isBadRequest)
    assert.throws(() => readForm(el('x', { xmlns: 'urn:x', type: 'form' })), isBadRequest)
    assert.throws(() => readForm(el('y', { xmlns: FORM_NS, type: 'form' })), isBadRequest)
    assert.throws(() => readForm(form({ type: 'submit', fields: twice })), isBadRequest)
    assert.throws(() => submitted({ FORM_TYPE: ['a', 'b'] }), isBadRequest)
  })

  test('finds the form in its parent', () => {
    const parent = el('query', { xmlns: 'urn:xmpp:mam:2' }, form({ type: 'cancel' }))
    assert.equal(formIn(parent)?.type, 'cancel')
    assert.equal(formIn(el('query', { xmlns: 'urn:xmpp:mam:2' })), undefined)
  })
})

describe('a field read as', () => {
  const read = submitted({
    absent: [],
    empty: [''],
    two: ['a', 'b'],
    text: [' a '],
    yes: ['1'],
    true: [' true '],
    no: ['0'],
    false: ['false'],
    number: ['-12'],
    huge: ['99999999999999999999'],
    when: ['2024-02-29T12:00:00+01:00'],
    juliet: ['Juliet@example.com'],
    both: ['juliet@example.com', 'JULIET@example.com', '', 'romeo@example.net'],
  })

  test('text', () => {
    assert.equal(read.text('unknown'), undefined)
    assert.equal(read.text('absent'), '')
    assert.equal(read.text('text'), ' a ')
    assert.throws(() => read.text('two'), isNotAcceptable)
    assert.equal(read.lines('two'), 'a\nb')
    assert.equal(read.lines('unknown'), undefined)
  })

  test('boolean', () => {
    const names = ['yes', 'true', 'no', 'false', 'absent', 'empty', 'unknown']
    const none = undefined
    assert.deepEqual(
      names.map((name) => read.boolean(name)),
      [true, true, false, false, none, none, none],
    )
    assert.throws(() => read.boolean('number'), isNotAcceptable)
    assert.throws(() => read.boolean('two'), isNotAcceptable)
  })

  test('integer', () => {
    assert.equal(read.integer('number'), -12)
    assert.equal(read.integer('number', { min: -12, max: -12 }), -12)
    assert.equal(read.integer('empty'), undefined)
    assert.throws(() => read.integer('number', { min: 0 }), isNotAcceptable)
    assert.throws(() => read.integer('yes', { max: 0 }), isNotAcceptable)
    assert.throws(() => read.integer('huge'), isNotAcceptable)
    assert.throws(() => read.integer('text'), isNotAcceptable)
  })

  test('date and time', () => {
    assert.equal(read.dateTime('when'), Date.UTC(2024, 1, 29, 11))
    assert.equal(read.dateTime('unknown'), undefined)
    assert.throws(() => read.dateTime('number'), isNotAcceptable)
  })

  test('address', () => {
    assert.equal(read.jid('juliet'), juliet)
    assert.equal(read.jid('empty'), undefined)
    assert.throws(() => submitted({ a: ['@'] }).jid('a'), isNotAcceptable)
    assert.deepEqual(read.jids('both'), [juliet, romeo])
    assert.deepEqual(read.jids('absent'), [])
    assert.equal(read.jids('unknown'), undefined)
    assert.throws(() => submitted({ a: ['@'] }).jids('a'), isNotAcceptable)
  })

  test('choice', () => {
    const options = ['a', 'b'] as const
    assert.deepEqual(read.choices('two', options), ['a', 'b'])
    assert.deepEqual(submitted({ x: ['b', 'b'] }).choices('x', options), ['b'])
    assert.equal(read.choices('unknown', options), undefined)
    assert.throws(() => read.choices('yes', options), isNotAcceptable)
    assert.equal(submitted({ x: ['b'] }).choice('x', options), 'b')
    assert.equal(read.choice('empty', options), undefined)
    assert.throws(() => read.choice('yes', options), isNotAcceptable)
  })
})

describe('building', () => {
  const built = (content: FormContent) => form(content).toString()

  test('a form to fill in', () => {
    assert.equal(
      built({
        type: 'form',
        formType: 'urn:x',
        title: 'Room',
        instructions: 'Fill in',
        fields: [
          { type: 'fixed', value: 'General' },
          { var: 'open', type: 'boolean', label: 'Open?', value: true, required: true },
          { var: 'who', type: 'list-single', options: ['all', { label: 'None', value: 'none' }] },
        ],
      }),
      [
        "<x xmlns='jabber:x:data' type='form'><title>Room</title><instructions>Fill in</instructions>",
        "<field var='FORM_TYPE' type='hidden'><value>urn:x</value></field>",
        "<field type='fixed'><value>General</value></field>",
        "<field var='open' type='boolean' label='Open?'><required/><value>1</value></field>",
        "<field var='who' type='list-single'><option><value>all</value></option>",
        "<option label='None'><value>none</value></option></field></x>",
      ].join(''),
    )
  })

  test('values of every kind', () => {
    assert.equal(
      built({
        type: 'result',
        fields: [
          { var: 'a', value: 7 },
          { var: 'b', value: [juliet, romeo] },
          { var: 'c', type: 'text-multi', value: 'x\r\ny\nz' },
          { var: 'd', value: 'x\ny' },
          { var: 'e', value: undefined },
          { var: 'f', value: false },
        ],
      }),
      [
        "<x xmlns='jabber:x:data' type='result'><field var='a'><value>7</value></field>",
        "<field var='b'><value>juliet@example.com</value><value>romeo@example.net</value></field>",
        "<field var='c' type='text-multi'><value>x</value><value>y</value><value>z</value></field>",
        "<field var='d'><value>x\ny</value></field><field var='e'/>",
        "<field var='f'><value>0</value></field></x>",
      ].join(''),
    )
  })

  test('validation (XEP-0122)', () => {
    const validated = (
      validate: NonNullable<NonNullable<FormContent['fields']>[number]['validate']>,
    ) =>
      built({ type: 'form', fields: [{ var: 'n', validate }] })
        .replace("<x xmlns='jabber:x:data' type='form'><field var='n'>", '')
        .replace('</field></x>', '')
        .replace(" xmlns='http://jabber.org/protocol/xdata-validate'", '')
    assert.equal(
      validated({ datatype: 'xs:integer', range: { min: 1, max: 5 } }),
      "<validate datatype='xs:integer'><range min='1' max='5'/></validate>",
    )
    assert.equal(
      validated({ datatype: 'xs:string', regex: '[a-z]+' }),
      "<validate datatype='xs:string'><regex>[a-z]+</regex></validate>",
    )
    assert.equal(
      validated({ datatype: 'xs:string', open: true, listRange: { max: 3 } }),
      "<validate datatype='xs:string'><open/><list-range max='3'/></validate>",
    )
    assert.equal(
      validated({ datatype: 'xs:dateTime' }),
      "<validate datatype='xs:dateTime'><basic/></validate>",
    )
  })

  test('a table', () => {
    assert.equal(
      table(
        [{ var: 'jid', type: 'jid-single', label: 'Address' }, { var: 'nick' }],
        [{ jid: juliet, nick: 'J' }, { jid: romeo }],
      ).toString(),
      [
        "<x xmlns='jabber:x:data' type='result'>",
        "<reported><field var='jid' type='jid-single' label='Address'/><field var='nick'/></reported>",
        "<item><field var='jid'><value>juliet@example.com</value></field>",
        "<field var='nick'><value>J</value></field></item>",
        "<item><field var='jid'><value>romeo@example.net</value></field>",
        "<field var='nick'><value></value></field></item></x>",
      ].join(''),
    )
  })

  test('what is built reads the same', () => {
    const read = readForm(
      form({ type: 'submit', formType: 'urn:x', fields: [{ var: 'a', value: [juliet, 'b', 1] }] }),
    )
    assert.equal(read.formType, 'urn:x')
    assert.deepEqual(read.values.get('a'), ['juliet@example.com', 'b', '1'])
  })
})
