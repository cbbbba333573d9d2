/** The arguments of a command as those faces need them that ask people: command line and forms. */
import { z } from 'zod'

export type Field = {
  readonly name: string
  readonly description: string
  readonly isRequired: boolean
  readonly type: 'text' | 'number' | 'flag'
  /** One of these; anything when absent. */
  readonly choices?: readonly string[] | undefined
  /** What kind of address it is, such as `account`. */
  readonly title?: string | undefined
  /** Texts of several lines. */
  readonly isLong: boolean
}

/** Longer texts are written on several lines. */
const LONG = 2_000

export function fieldsOf({ shape }: z.ZodObject): Field[] {
  return Object.entries(shape).map(([name, schema]) => field(name, schema))
}

function field(name: string, schema: z.core.$ZodType): Field {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  const { type, description, title, maxLength = 0 } = json
  const isNumber = type === 'integer' || type === 'number'
  return {
    name,
    description: description ?? '',
    isRequired: !z.safeParse(schema, undefined).success,
    type: isNumber ? 'number' : type === 'boolean' ? 'flag' : 'text',
    choices: json.enum?.map(String),
    title,
    isLong: maxLength > LONG,
  }
}
