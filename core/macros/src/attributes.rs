//! Reads the `#[command]`, `#[key]` and `#[arg]` attributes into plain structs.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, LitInt, LitStr, Result, Token, parenthesized};

/// `#[command(...)]` on a struct.
#[derive(Default)]
pub(crate) struct CommandAttributes {
    pub(crate) name: Option<LitStr>,
    pub(crate) group: Option<Ident>,
    pub(crate) since: Option<LitStr>,
    pub(crate) complexity: Option<LitStr>,
    pub(crate) arity: Option<Expr>,
    pub(crate) flags: Vec<Ident>,
    pub(crate) acl: Vec<Ident>,
    pub(crate) tips: Vec<LitStr>,
    pub(crate) reply: Option<LitStr>,
    pub(crate) history: Vec<(LitStr, LitStr)>,
    pub(crate) deprecated: Option<(LitStr, LitStr)>,
    pub(crate) extra_keys: Vec<TokenStream>,
    pub(crate) secrets: Option<Expr>,
    pub(crate) whole_keyspace: bool,
    pub(crate) outside: bool,
    pub(crate) container: bool,
    pub(crate) custom_parse: bool,
    pub(crate) session: bool,
    pub(crate) no_args: bool,
}

impl CommandAttributes {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut this = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("command")) {
            attribute.parse_args_with(|input: ParseStream<'_>| this.read_all(input))?;
        }
        Ok(this)
    }

    fn read_all(&mut self, input: ParseStream<'_>) -> Result<()> {
        while !input.is_empty() {
            let word: Ident = input.parse()?;
            match word.to_string().as_str() {
                "name" => self.name = Some(assigned(input)?),
                "group" => self.group = Some(assigned(input)?),
                "since" => self.since = Some(assigned(input)?),
                "complexity" => self.complexity = Some(assigned(input)?),
                "arity" => self.arity = Some(assigned(input)?),
                "reply" => self.reply = Some(assigned(input)?),
                "flags" => self.flags = listed(input)?,
                "acl" => self.acl = listed(input)?,
                "tips" => self.tips = listed(input)?,
                "history" => {
                    self.history = listed::<Pair>(input)?.into_iter().map(|pair| (pair.0, pair.1)).collect()
                }
                "deprecated" => {
                    let content;
                    parenthesized!(content in input);
                    let since = content.parse()?;
                    content.parse::<Token![,]>()?;
                    self.deprecated = Some((since, content.parse()?));
                }
                "extra_key" => {
                    let content;
                    parenthesized!(content in input);
                    self.extra_keys.push(KeyAttribute::read_content(&content)?.spec(quote!(0)));
                }
                "secrets" => self.secrets = Some(assigned(input)?),
                "whole_keyspace" => self.whole_keyspace = true,
                "outside" => self.outside = true,
                "container" => self.container = true,
                "custom_parse" => self.custom_parse = true,
                "session" => self.session = true,
                "no_args" => self.no_args = true,
                other => {
                    return Err(syn::Error::new(word.span(), format!("unknown command attribute `{other}`")));
                }
            }
            separator(input)?;
        }
        Ok(())
    }
}

struct Pair(LitStr, LitStr);

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let content;
        parenthesized!(content in input);
        let first = content.parse()?;
        content.parse::<Token![,]>()?;
        Ok(Self(first, content.parse()?))
    }
}

/// `#[key(...)]` on a field: the flags of its key spec and what differs from a single key.
#[derive(Default)]
pub(crate) struct KeyAttribute {
    flags: Vec<Ident>,
    step: Option<LitInt>,
    last: Option<Expr>,
    notes: Option<LitStr>,
    begin: Option<Expr>,
    find: Option<Expr>,
}

impl KeyAttribute {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Option<Self>> {
        match attributes.iter().find(|attribute| attribute.path().is_ident("key")) {
            Some(attribute) => attribute.parse_args_with(Self::read_content).map(Some),
            None => Ok(None),
        }
    }

    fn read_content(input: ParseStream<'_>) -> Result<Self> {
        let mut this = Self::default();
        while !input.is_empty() {
            let word: Ident = input.parse()?;
            match word.to_string().as_str() {
                "step" => this.step = Some(assigned(input)?),
                "last" => this.last = Some(assigned(input)?),
                "notes" => this.notes = Some(assigned(input)?),
                "begin" => this.begin = Some(assigned(input)?),
                "find" => this.find = Some(assigned(input)?),
                _ => this.flags.push(word),
            }
            separator(input)?;
        }
        Ok(this)
    }

    /// The key spec of a key at argument `position`, an expression.
    pub(crate) fn spec(&self, position: TokenStream) -> TokenStream {
        let flags = &self.flags;
        let step = self.step.as_ref().map_or(quote!(1), |step| quote!(#step));
        let last = self.last.as_ref().map_or(quote!(0), |last| quote!(#last));
        let notes = self.notes.as_ref().map_or(quote!(""), |notes| quote!(#notes));
        let begin = match &self.begin {
            Some(begin) => quote!(#begin),
            None => quote!(::keystead::command::spec::BeginSearch::Index(#position)),
        };
        let find = match &self.find {
            Some(find) => quote!(#find),
            None => quote!(::keystead::command::spec::FindKeys::Range { last: #last, step: #step, limit: 0 }),
        };
        quote! {
            ::keystead::command::spec::KeySpec {
                begin: #begin,
                find: #find,
                flags: ::keystead::command::spec::KeyFlags::NONE
                    #(.with(::keystead::command::spec::KeyFlags::#flags))*,
                notes: #notes,
            }
        }
    }
}

/// `#[arg(...)]` on a field, a variant or a type.
#[derive(Default)]
pub(crate) struct ArgAttributes {
    pub(crate) token: Option<LitStr>,
    pub(crate) name: Option<LitStr>,
    pub(crate) display: Option<LitStr>,
    pub(crate) kind: Option<Ident>,
    pub(crate) since: Option<LitStr>,
    pub(crate) key_spec: Option<LitInt>,
    pub(crate) oneof: bool,
    pub(crate) multiple_token: bool,
    pub(crate) optional: bool,
    pub(crate) hidden: bool,
    pub(crate) once: bool,
    pub(crate) last_counts: bool,
    /// The option is none where this other one was given.
    pub(crate) without: Option<LitStr>,
}

impl ArgAttributes {
    pub(crate) fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut this = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("arg")) {
            attribute.parse_args_with(|input: ParseStream<'_>| this.read_all(input))?;
        }
        Ok(this)
    }

    fn read_all(&mut self, input: ParseStream<'_>) -> Result<()> {
        while !input.is_empty() {
            let word: Ident = input.parse()?;
            match word.to_string().as_str() {
                "token" => self.token = Some(assigned(input)?),
                "name" => self.name = Some(assigned(input)?),
                "display" => self.display = Some(assigned(input)?),
                "kind" => self.kind = Some(assigned(input)?),
                "since" => self.since = Some(assigned(input)?),
                "key_spec" => self.key_spec = Some(assigned(input)?),
                "oneof" => self.oneof = true,
                "multiple_token" => self.multiple_token = true,
                "optional" => self.optional = true,
                "hidden" => self.hidden = true,
                "once" => self.once = true,
                "last_counts" => self.last_counts = true,
                "without" => self.without = Some(assigned(input)?),
                other => {
                    return Err(syn::Error::new(word.span(), format!("unknown arg attribute `{other}`")));
                }
            }
            separator(input)?;
        }
        Ok(())
    }

    /// The fields of an `ArgSpec` literal that the attributes set, for an argument called `ident`.
    pub(crate) fn overrides(&self, ident: &Ident) -> TokenStream {
        let own = ident.to_string().to_lowercase().replace('_', "-");
        let own = own.strip_prefix("r#").unwrap_or(&own);
        let name = self.name.as_ref().map_or(quote!(#own), |name| quote!(#name));
        let token = self.token.as_ref().map(|token| quote!(token: Some(#token),));
        let display = self.display.as_ref().map(|text| quote!(display: Some(#text),));
        let kind = self.kind.as_ref().map(|kind| quote!(kind: ::keystead::command::spec::ArgKind::#kind,));
        let since = self.since.as_ref().map(|since| quote!(since: #since,));
        let key_spec = self.key_spec.as_ref().map(|index| quote!(key_spec: Some(#index),));
        let multiple_token = self.multiple_token.then(|| quote!(multiple_token: true,));
        let optional = (self.optional || self.multiple_token).then(|| quote!(optional: true,));
        quote!(name: #name, #display #token #kind #since #key_spec #multiple_token #optional)
    }
}

fn assigned<T: Parse>(input: ParseStream<'_>) -> Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn listed<T: Parse>(input: ParseStream<'_>) -> Result<Vec<T>> {
    let content;
    parenthesized!(content in input);
    Ok(Punctuated::<T, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

fn separator(input: ParseStream<'_>) -> Result<()> {
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
    }
    Ok(())
}

/// The doc comment's first paragraph as one line.
pub(crate) fn summary(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let syn::Meta::NameValue(pair) = &attribute.meta else { continue };
        let Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else { continue };
        let line = text.value().trim().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    lines.join(" ")
}
