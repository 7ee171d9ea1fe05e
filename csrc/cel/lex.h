/* The tokens of an expression's text (cel-spec, "Syntax"). A lexer looks at one token; its text is borrowed. */
#ifndef MC_CEL_LEX_H
#define MC_CEL_LEX_H

#include "base/arena.h"
#include "base/error.h"

typedef enum mc_cel_token {
    MC_CEL_TOKEN_END,
    MC_CEL_TOKEN_IDENT, /* reserved words too */
    MC_CEL_TOKEN_INT,   /* digits or 0x and hex digits */
    MC_CEL_TOKEN_UINT,  /* the same; the suffix is not in the text */
    MC_CEL_TOKEN_DOUBLE,
    MC_CEL_TOKEN_STRING, /* between the quotes, escapes not undone */
    MC_CEL_TOKEN_BYTES,
    MC_CEL_TOKEN_SIGN, /* an operator or bracket: one or two characters */
    MC_CEL_TOKEN_BAD,
} mc_cel_token;

typedef struct mc_cel_lexer {
    mc_slice source;
    size_t at; /* behind the token */
    mc_cel_token token;
    mc_slice text;
    size_t start; /* of the token, quotes and prefixes included */
    bool raw;     /* of a string */
} mc_cel_lexer;

void mc_cel_lex_start(mc_cel_lexer *lexer, mc_slice source);
void mc_cel_lex_next(mc_cel_lexer *lexer);
static inline bool mc_cel_lex_is(const mc_cel_lexer *lexer, const char *sign) {
    return lexer->token == MC_CEL_TOKEN_SIGN && mc_slice_eq(lexer->text, mc_slice_cstr(sign));
}
/* Undoes the escapes of the string at hand. MC_EINVAL: one is wrong. */
MC_MUST_CHECK mc_status mc_cel_lex_unescape(const mc_cel_lexer *lexer, mc_arena *arena, mc_slice *out);

#endif
