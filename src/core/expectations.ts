import type { z } from 'zod'

export function oneOf(values: readonly unknown[]): string {
  const quoted = values.map((value) => JSON.stringify(value))
  return quoted.length === 1 ? `${quoted[0]}` : `one of ${quoted.join(', ')}`
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'an array',
  object: 'an object',
  record: 'an object',
}

/**
 * Says what a schema wanted, as a noun phrase, with the types called by `names`. Schemas with a message of
 * their own overrule it.
 */
export function expectations(names: Readonly<Record<string, string>>) {
  const types = { ...TYPES, ...names }
  return (issue: z.core.$ZodRawIssue) => expectation(issue, types)
}

function expectation(issue: z.core.$ZodRawIssue, types: Readonly<Record<string, string>>): string {
  switch (issue.code) {
    case 'invalid_type':
      return types[issue.expected] ?? `a value of type ${issue.expected}`
    case 'invalid_value':
      return oneOf(issue.values)
    case 'too_small':
      return amount(
        issue.origin,
        issue.inclusive === false ? 'more than' : 'at least',
        issue.minimum,
      )
    case 'too_big':
      return amount(
        issue.origin,
        issue.inclusive === false ? 'less than' : 'at most',
        issue.maximum,
      )
    case 'not_multiple_of':
      return `a multiple of ${issue.divisor}`
    case 'invalid_format':
      return `a text of the form ${issue.pattern ?? issue.format}`
    case 'invalid_union':
      return alternatives((issue.errors ?? []).flat())
    default:
      return 'another value'
  }
}

function amount(origin: string, limit: string, bound: number | bigint): string {
  const elements = bound === 1 ? 'element' : 'elements'
  const characters = bound === 1 ? 'character' : 'characters'
  if (origin === 'array') return `an array of ${limit} ${bound} ${elements}`
  if (origin === 'string') return `a text of ${limit} ${bound} ${characters}`
  return `a number of ${limit} ${bound}`
}

function alternatives(issues: readonly z.core.$ZodIssue[]): string {
  const messages = issues.map(({ message }) => message)
  return [...new Set(messages)].join(' or ') || 'another value'
}
