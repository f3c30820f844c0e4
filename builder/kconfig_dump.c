// Prints every symbol of a kernel tree as one line of JSON, with the value, dependencies and selects that the
// tree's own Kconfig parser computes for the .config in the current folder.
//
// Linked against the objects of the tree's scripts/kconfig (the same that `conf` is made of) and started by
// the tree's own Makefile in the place of `conf`, so that it sees the environment that Kconfig files ask for.
// Usage: KCONFIG_DUMP=FILE kconfig_dump [-s] Kconfig
//
// Not for: deciding anything. builder/kconfig.py reads the lines.

#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "lkc.h"

static FILE *out;

static void put_string(const char *text)
{
	fputc('"', out);
	for (const unsigned char *c = (const unsigned char *)(text ?: ""); *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else if (*c < 0x20)
			fprintf(out, "\\u%04x", *c);
		else
			fputc(*c, out);
	}
	fputc('"', out);
}

static const char *tristate_name(tristate value)
{
	return value == yes ? "y" : value == mod ? "m" : "n";
}

static void append(void *data, struct symbol *sym, const char *text)
{
	str_append(data, text);
}

static void put_expr(const struct expr *e)
{
	struct gstr text = str_new();

	expr_print(e, append, &text, E_NONE);
	put_string(str_get(&text));
	str_free(&text);
}

// The operands of a chain of && (or ||), each as [text, value].
static void put_operands(struct expr *e, enum expr_type chain, bool *first)
{
	if (!e)
		return;
	if (e->type == chain) {
		put_operands(e->left.expr, chain, first);
		put_operands(e->right.expr, chain, first);
		return;
	}
	fputs(*first ? "[" : ", [", out);
	*first = false;
	put_expr(e);
	fprintf(out, ", \"%s\"]", tristate_name(expr_calc_value(e)));
}

static void put_chain(const char *key, struct expr *e, enum expr_type chain)
{
	bool first = true;

	fprintf(out, ", \"%s\": [", key);
	put_operands(e, chain, &first);
	fputc(']', out);
}

static void put_symbol(struct symbol *sym)
{
	struct menu *menu = list_first_entry(&sym->menus, struct menu, link);
	struct menu *choice = sym_get_choice_menu(sym);
	struct property *prop;
	bool first = true;

	sym_calc_value(sym);
	fputs("{\"name\": ", out);
	put_string(sym->name);
	fprintf(out, ", \"type\": \"%s\", \"value\": ", sym_type_name(sym->type));
	put_string(sym_get_string_value(sym));
	fputs(", \"file\": ", out);
	put_string(menu->filename);
	fprintf(out, ", \"line\": %d", menu->lineno);

	fputs(", \"prompts\": [", out);
	for_all_prompts(sym, prop) {
		bool first_operand = true;

		fputs(first ? "[" : ", [", out);
		first = false;
		put_string(prop->text);
		fputs(", [", out);
		put_operands(prop->visible.expr, E_AND, &first_operand);
		fputs("]]", out);
	}
	fputc(']', out);

	fputs(", \"defaults\": [", out);
	first = true;
	for_all_defaults(sym, prop) {
		fputs(first ? "[" : ", [", out);
		first = false;
		put_expr(prop->expr);
		fputs(", ", out);
		put_expr(prop->visible.expr);
		fputc(']', out);
	}
	fputc(']', out);

	put_chain("depends", sym->dir_dep.expr, E_AND);
	put_chain("selected_by", sym->rev_dep.expr, E_OR);
	put_chain("implied_by", sym->implied.expr, E_OR);

	prop = sym_get_range_prop(sym);
	if (prop) {
		fputs(", \"range\": [", out);
		put_string(sym_get_string_value(prop->expr->left.sym));
		fputs(", ", out);
		put_string(sym_get_string_value(prop->expr->right.sym));
		fputc(']', out);
	}
	if (choice)
		fprintf(out, ", \"choice\": \"%s:%d\"", choice->filename, choice->lineno);
	fputs("}\n", out);
}

int main(int argc, char **argv)
{
	const char *path = getenv("KCONFIG_DUMP");
	struct symbol *sym;

	if (argc < 2 || !path) {
		fprintf(stderr, "usage: KCONFIG_DUMP=FILE %s Kconfig\n", argv[0]);
		return 2;
	}
	conf_set_message_callback(NULL);
	conf_parse(argv[argc - 1]);
	if (conf_read(NULL)) {
		fprintf(stderr, "%s: no .config to read\n", argv[0]);
		return 1;
	}
	out = fopen(path, "w");
	if (!out) {
		perror(path);
		return 1;
	}
	for_all_symbols(sym)
		if (sym->name && sym->type != S_UNKNOWN && !(sym->flags & SYMBOL_CONST) && !list_empty(&sym->menus))
			put_symbol(sym);
	if (fclose(out)) {
		perror(path);
		return 1;
	}
	return 0;
}
