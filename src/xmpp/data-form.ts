import { parseDateTime } from './datetime.ts'
import { type Jid, tryParseJid } from './jid.ts'
import { StanzaError } from './stanza-error.ts'
import { type Element, el } from './xml.ts'

export const FORM_NS = 'jabber:x:data'
export const VALIDATE_NS = 'http://jabber.org/protocol/xdata-validate'

const FORM_TYPE = 'FORM_TYPE'

const formKinds = ['form', 'submit', 'cancel', 'result'] as const
export type FormKind = (typeof formKinds)[number]

export type FieldType =
  | 'boolean'
  | 'fixed'
  | 'hidden'
  | 'jid-multi'
  | 'jid-single'
  | 'list-multi'
  | 'list-single'
  | 'text-multi'
  | 'text-private'
  | 'text-single'

type Range = { readonly min?: number; readonly max?: number }

/**
 * A form that was received (XEP-0004, XEP-0068). Each method reads one field: undefined when the form
 * does not have it or, except for texts and lists, has it empty; `values.has` tells the two apart,
 * where emptying a field means something (XEP-0004 §3.6). Throws `not-acceptable` when the value is not
 * of that kind (§4): nothing in a form has been checked by whoever sent it.
 */
export class DataForm {
  readonly type: FormKind
  /** What `FORM_TYPE` says the form is for. */
  readonly formType: string | undefined
  /** The values of every named field but `FORM_TYPE`, in order. A field without value has []. */
  readonly values: ReadonlyMap<string, readonly string[]>

  constructor(
    type: FormKind,
    formType: string | undefined,
    values: ReadonlyMap<string, readonly string[]>,
  ) {
    this.type = type
    this.formType = formType
    this.values = values
  }

  /** The one value; '' when the field is there without any. */
  text(name: string): string | undefined {
    const values = this.values.get(name)
    if (values === undefined) return undefined
    if (values.length > 1) throw wrong(name, 'more than one value')
    return values[0] ?? ''
  }

  /** All values as lines of one text. */
  lines(name: string): string | undefined {
    return this.values.get(name)?.join('\n')
  }

  /** `xs:boolean`. */
  boolean(name: string): boolean | undefined {
    const text = this.#filled(name)
    if (text === undefined) return undefined
    if (text === '1' || text === 'true') return true
    if (text === '0' || text === 'false') return false
    throw wrong(name, 'neither true nor false')
  }

  /** `xs:integer` from `min` to `max`, both included. */
  integer(name: string, { min, max }: Range = {}): number | undefined {
    const text = this.#filled(name)
    if (text === undefined) return undefined
    const number = Number(text)
    if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(number)) throw wrong(name, 'not a number')
    if (number < (min ?? -Infinity) || number > (max ?? Infinity)) throw wrong(name, 'out of range')
    return number
  }

  /** `xs:dateTime`, in milliseconds since 1970. */
  dateTime(name: string): number | undefined {
    const text = this.#filled(name)
    if (text === undefined) return undefined
    const at = parseDateTime(text)
    if (at === undefined) throw wrong(name, 'not a date and time')
    return at
  }

  jid(name: string): Jid | undefined {
    const text = this.#filled(name)
    return text === undefined ? undefined : address(name, text)
  }

  /** Without duplicates, which XEP-0004 §3.3 has us ignore. */
  jids(name: string): Jid[] | undefined {
    const filled = this.values.get(name)?.filter((text) => text.trim() !== '')
    if (filled === undefined) return undefined
    const found = new Map<string, Jid>()
    for (const text of filled) {
      const jid = address(name, text.trim())
      found.set(jid.full, jid)
    }
    return [...found.values()]
  }

  /** One of `options`, as of a `list-single`. */
  choice<Option extends string>(name: string, options: readonly Option[]): Option | undefined {
    const text = this.#filled(name)
    return text === undefined ? undefined : option(name, text, options)
  }

  /** Some of `options`, as of a `list-multi`; without duplicates. */
  choices<Option extends string>(name: string, options: readonly Option[]): Option[] | undefined {
    const values = this.values.get(name)
    if (values === undefined) return undefined
    return [...new Set(values.map((text) => option(name, text, options)))]
  }

  #filled(name: string): string | undefined {
    return this.text(name)?.trim() || undefined
  }
}

function wrong(name: string, text: string): StanzaError {
  return new StanzaError('not-acceptable', { text: `${name}: ${text}` })
}

function address(name: string, text: string): Jid {
  const jid = tryParseJid(text)
  if (jid === undefined) throw wrong(name, 'not an address')
  return jid
}

function option<Option extends string>(
  name: string,
  text: string,
  options: readonly Option[],
): Option {
  const chosen = options.find((offered) => offered === text)
  if (chosen === undefined) throw wrong(name, 'not among the options')
  return chosen
}

/**
 * Reads an `<x/>` of `jabber:x:data`. Throws `bad-request` when the element is none, its type is
 * unknown, or a name is given twice. Fields without name hold nothing to read and are left out.
 */
export function readForm(x: Element): DataForm {
  const kind = formKinds.find((known) => known === x.attr('type'))
  if (x.name !== 'x' || x.ns !== FORM_NS || kind === undefined) {
    throw new StanzaError('bad-request', { text: 'not a data form' })
  }
  const values = new Map<string, readonly string[]>()
  let formType: string | undefined
  for (const field of x.elements('field')) {
    const name = field.attr('var')
    if (name === undefined) continue
    if (values.has(name)) throw new StanzaError('bad-request', { text: `${name}: given twice` })
    values.set(
      name,
      field.elements('value').map((value) => value.text),
    )
    // XEP-0068 §4.3: only a hidden field counts, but submitted fields need not tell their type.
    const isHidden = field.attr('type') === 'hidden' || kind === 'submit' || kind === 'cancel'
    if (name === FORM_TYPE && isHidden) formType = onlyValue(field)
  }
  values.delete(FORM_TYPE)
  return new DataForm(kind, formType, values)
}

function onlyValue(field: Element): string | undefined {
  const [value, another] = field.elements('value')
  if (another !== undefined)
    throw new StanzaError('bad-request', { text: 'more than one FORM_TYPE' })
  return value?.text
}

/** The data form among the children of `parent`, read; undefined when there is none. */
export function formIn(parent: Element): DataForm | undefined {
  const x = parent.child('x', FORM_NS)
  return x && readForm(x)
}

export type FieldValue = string | number | boolean | Jid

/** XEP-0122. At most one of `open`, `range` and `regex`. */
export type Validation = {
  /** `xs:integer` and the like. */
  readonly datatype: string
  /** Lists may be answered with other values than their options. */
  readonly open?: boolean
  readonly range?: { readonly min?: string | number; readonly max?: string | number }
  /** POSIX extended regular expression. */
  readonly regex?: string
  /** How many values of a `list-multi` are to be chosen. */
  readonly listRange?: Range
}

export type Option = { readonly label?: string; readonly value: string }

export type Field = {
  /** Needed for every type but `fixed`. */
  readonly var?: string
  /** Left out where the receiver knows (results, submissions). */
  readonly type?: FieldType
  readonly label?: string
  readonly desc?: string
  readonly required?: boolean
  /** One value or several; the text of a `text-multi` is split into lines. */
  readonly value?: FieldValue | readonly FieldValue[] | undefined
  /** Of lists. A string is an option without label. */
  readonly options?: readonly (Option | string)[]
  readonly validate?: Validation
}

export type FormContent = {
  readonly type: FormKind
  readonly formType?: string
  readonly title?: string
  readonly instructions?: string
  readonly fields?: readonly Field[]
}

/** Builds an `<x/>` of `jabber:x:data`. */
export function form({ type, formType, title, instructions, fields = [] }: FormContent): Element {
  return el(
    'x',
    { xmlns: FORM_NS, type },
    title !== undefined && el('title', {}, title),
    instructions !== undefined && el('instructions', {}, instructions),
    formType !== undefined && fieldElement({ var: FORM_TYPE, type: 'hidden', value: formType }),
    ...fields.map(fieldElement),
  )
}

/** Builds a `result` of several items (XEP-0004 §3.4). Each item has a value for each column. */
export function table(
  columns: readonly Field[],
  items: readonly Readonly<Record<string, FieldValue | readonly FieldValue[]>>[],
): Element {
  return el(
    'x',
    { xmlns: FORM_NS, type: 'result' },
    el('reported', {}, ...columns.map(fieldElement)),
    ...items.map((item) =>
      el(
        'item',
        {},
        ...columns.map(({ var: name = '' }) =>
          fieldElement({ var: name, value: item[name] ?? '' }),
        ),
      ),
    ),
  )
}

function fieldElement(field: Field): Element {
  const { type, label, desc, options = [], validate } = field
  return el(
    'field',
    { var: field.var, type, label },
    desc !== undefined && el('desc', {}, desc),
    field.required && el('required'),
    validate && validateElement(validate),
    ...valuesOf(field).map((value) => el('value', {}, value)),
    ...options.map((option) =>
      typeof option === 'string'
        ? el('option', {}, el('value', {}, option))
        : el('option', { label: option.label }, el('value', {}, option.value)),
    ),
  )
}

function valuesOf({ type, value }: Field): string[] {
  if (value === undefined) return []
  const texts = (isSeveral(value) ? value : [value]).map(textOf)
  return type === 'text-multi' ? texts.flatMap((text) => text.split(/\r\n|[\r\n]/)) : texts
}

/** `Array.isArray` does not see read-only arrays. */
function isSeveral(value: FieldValue | readonly FieldValue[]): value is readonly FieldValue[] {
  return Array.isArray(value)
}

/** Booleans as 1 and 0, which every client knows. */
function textOf(value: FieldValue): string {
  return typeof value === 'boolean' ? String(Number(value)) : String(value)
}

function validateElement({ datatype, open, range, regex, listRange }: Validation): Element {
  const method =
    range !== undefined
      ? el('range', range)
      : regex !== undefined
        ? el('regex', {}, regex)
        : el(open ? 'open' : 'basic')
  return el(
    'validate',
    { xmlns: VALIDATE_NS, datatype },
    method,
    listRange && el('list-range', listRange),
  )
}
