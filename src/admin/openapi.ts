/** The commands as an OpenAPI 3.1 document: JSON Schema made from the zod schemas. */
import { z } from 'zod'
import type { Permission } from '../core/command.ts'
import type { Command } from './command.ts'
import type { StreamCommand } from './stream-command.ts'
import { TOKEN_PATH, tokenAnswer } from './token-answer.ts'

type Source = {
  readonly commands: readonly Command[]
  readonly streams: readonly StreamCommand[]
  readonly version: string
}

/** Of a command by its name. */
export function pathOf(name: string): string {
  return `/api/${name.replaceAll(' ', '/')}`
}

/** Who has tokens of which role may do what needs this. */
function rolesOf(permission: Permission): string {
  return permission.endsWith(':read') ? 'every role' : 'not read-only'
}

export function openApi({ commands, streams, version }: Source): object {
  const all = [...commands.map(operationOf), ...streams.map(streamOf)]
  return {
    openapi: '3.1.0',
    info: {
      title: 'Meerkat',
      version,
      description: 'Administration of an XMPP server. See `docs/http-api.md`.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    tags: tagsOf([...commands, ...streams]),
    paths: {
      [TOKEN_PATH]: { get: tokenOperation },
      ...Object.fromEntries(all.map(({ path, post }) => [path, { post }])),
    },
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'A token of `meerkat token create`.',
        },
      },
      schemas: { Problem: problem, Progress: progress },
      responses: Object.fromEntries(
        Object.entries(REFUSALS).map(([name, { description }]) => [
          name,
          {
            description,
            content: { 'application/problem+json': { schema: ref('schemas/Problem') } },
          },
        ]),
      ),
    },
  }
}

const problem = {
  type: 'object',
  description: 'RFC 9457.',
  required: ['type', 'title', 'status', 'code', 'detail'],
  properties: {
    type: { type: 'string', const: 'about:blank' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', description: 'For programs.' },
    detail: { type: 'string', description: 'For people.' },
  },
}

const progress = {
  type: 'object',
  description: 'How far long work has come: the event `progress` of `text/event-stream`.',
  required: ['done', 'of'],
  properties: {
    done: { type: 'integer' },
    total: { type: 'integer', description: 'Where it is known.' },
    of: { type: 'string', description: 'What is counted.' },
  },
}

const REFUSALS = {
  Invalid: { status: 400, description: 'The arguments cannot be meant.' },
  Unauthorized: { status: 401, description: 'No token, or one that is not good (any more).' },
  Forbidden: { status: 403, description: 'Not for this role, or not about this domain.' },
  NotFound: { status: 404, description: 'Something is missing.' },
  Conflict: { status: 409, description: 'Something is there already.' },
  TooMany: { status: 429, description: 'Too many requests; the header Retry-After says when.' },
  Unavailable: { status: 503, description: 'Not now.' },
} as const

function ref(to: string) {
  return { $ref: `#/components/${to}` }
}

const tokenOperation = {
  operationId: 'token',
  summary: 'Tell what the token that is shown is good for',
  description: 'For every role.',
  tags: ['token'],
  responses: {
    200: {
      description: 'Done.',
      content: { 'application/json': { schema: schemaOf(tokenAnswer, 'output') } },
    },
    401: ref('responses/Unauthorized'),
    429: ref('responses/TooMany'),
  },
}

function operationOf({ result, ...command }: Command) {
  return operation(command, {
    'application/json': { schema: schemaOf(result, 'output') },
    'text/event-stream': {
      schema: {
        type: 'string',
        description: 'Events `progress`, then `result` or `error`, where this is accepted.',
      },
    },
  })
}

function streamOf({ item, ...stream }: StreamCommand) {
  return operation(stream, {
    'text/event-stream': {
      schema: {
        type: 'string',
        description: `Events \`item\` until the connection is closed: ${JSON.stringify(schemaOf(item, 'output'))}`,
      },
    },
  })
}

type Described = Pick<Command, 'name' | 'description' | 'permission' | 'args'>

function operation({ name, description, permission, args }: Described, content: object) {
  const schema = schemaOf(args, 'input')
  return {
    path: pathOf(name),
    post: {
      operationId: name.replace(/ ([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      summary: description,
      description: `Needs \`${permission}\`: ${rolesOf(permission)}.`,
      tags: [tagOf(name)],
      requestBody: {
        required: (schema.required ?? []).length > 0,
        content: { 'application/json': { schema } },
      },
      responses: {
        200: { description: 'Done.', content },
        ...Object.fromEntries(
          Object.entries(REFUSALS).map(([each, { status }]) => [status, ref(`responses/${each}`)]),
        ),
      },
    },
  }
}

function tagOf(name: string): string {
  return name.split(' ')[0] ?? name
}

function tagsOf(named: readonly { readonly name: string }[]) {
  return [...new Set(named.map(({ name }) => tagOf(name)))].map((name) => ({ name }))
}

export function schemaOf(schema: z.core.$ZodType, io: 'input' | 'output') {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}
