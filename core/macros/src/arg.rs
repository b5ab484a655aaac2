//! `derive(Arg)`: a block of arguments (struct) or a choice of them (enum).

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DataEnum, DeriveInput, Error, Fields, Result, Type, Variant};

use crate::attributes::ArgAttributes;
use crate::fields::{Field, parse_fields, visit_keys};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    match &input.data {
        Data::Struct(data) => block(input, &Field::all(&data.fields)?),
        Data::Enum(data) => choice(input, data),
        Data::Union(_) => Err(Error::new_spanned(input, "an argument is a struct or an enum")),
    }
}

fn block(input: &DeriveInput, fields: &[Field]) -> Result<TokenStream> {
    let ident = &input.ident;
    let lifetime = input.generics.lifetimes().next().map(|_| quote!(<'a>));
    let attributes = ArgAttributes::read(&input.attrs)?;
    let specs = fields.iter().map(Field::spec);
    let names = fields.iter().map(|field| &field.ident);
    let encode = fields.iter().map(Field::encode);
    let parse = parse_fields(fields, attributes.token.is_some());
    let visit = visit_keys(fields);
    let token = attributes.token.as_ref();
    let skip = token.map(|token| {
        quote! {
            if !args.skip_token(#token) {
                return Err(::keystead::Error::syntax());
            }
        }
    });
    let begins = match token {
        Some(token) => quote!(::keystead::command::is_token(word, #token)),
        None => quote!(false),
    };
    let push = token.map(|token| quote!(out.push(#token.as_bytes().to_vec());));
    let token = token.map(|token| quote!(token: Some(#token),));
    let repeat = quote! {
        impl #lifetime #ident #lifetime {
            #[allow(dead_code, reason = "called where the block is an option")]
            pub(crate) fn may_repeat(&self, _again: &Self) -> bool {
                false
            }
        }
    };
    Ok(quote! {
        impl<'a> ::keystead::command::Arg<'a> for #ident #lifetime {
            const SPEC: ::keystead::command::spec::ArgSpec = ::keystead::command::spec::ArgSpec {
                kind: ::keystead::command::spec::ArgKind::Block,
                #token
                args: &[#(#specs),*],
                ..::keystead::command::spec::ArgSpec::PLAIN
            };

            fn parse(args: &mut ::keystead::command::Args<'a>) -> ::keystead::Result<Self> {
                #skip
                #parse
                Ok(Self { #(#names),* })
            }

            fn begins(word: &[u8]) -> bool {
                let _ = word;
                #begins
            }

            fn encode(&self, out: &mut ::keystead::command::Argv) {
                #push
                #(#encode)*
            }

            #[allow(unused_variables, reason = "not every block holds keys")]
            fn each_key(&self, visit: &mut dyn FnMut(&::keystead::keyspace::Key<'a>)) {
                #visit
            }
        }

        #repeat
    })
}

fn choice(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let ident = &input.ident;
    let lifetime = input.generics.lifetimes().next().map(|_| quote!(<'a>));
    let variants = data.variants.iter().map(Choice::read).collect::<Result<Vec<_>>>()?;
    let specs = variants.iter().map(Choice::spec);
    let parses = variants.iter().map(Choice::parse);
    let encodes = variants.iter().map(Choice::encode);
    let tokens = variants.iter().map(|variant| &variant.attributes.token);
    let repeats = variants.iter().filter(|variant| !variant.attributes.once).map(|variant| {
        let name = &variant.variant.ident;
        quote!((Self::#name { .. }, Self::#name { .. }) => true,)
    });
    Ok(quote! {
        impl<'a> ::keystead::command::Arg<'a> for #ident #lifetime {
            const SPEC: ::keystead::command::spec::ArgSpec = ::keystead::command::spec::ArgSpec {
                kind: ::keystead::command::spec::ArgKind::OneOf,
                args: &[#(#specs),*],
                ..::keystead::command::spec::ArgSpec::PLAIN
            };

            fn parse(args: &mut ::keystead::command::Args<'a>) -> ::keystead::Result<Self> {
                let word = args.value()?;
                #(#parses)*
                Err(::keystead::Error::syntax())
            }

            fn begins(word: &[u8]) -> bool {
                false #(|| ::keystead::command::is_token(word, #tokens))*
            }

            fn encode(&self, out: &mut ::keystead::command::Argv) {
                match self {
                    #(#encodes)*
                }
            }
        }

        impl #lifetime #ident #lifetime {
            /// Whether the choice may be named again: the same one, whose last value counts then.
            #[allow(dead_code, reason = "called where the choice is an option")]
            pub(crate) fn may_repeat(&self, again: &Self) -> bool {
                match (self, again) {
                    #(#repeats)*
                    _ => false,
                }
            }
        }
    })
}

struct Choice<'v> {
    variant: &'v Variant,
    attributes: ArgAttributes,
    payload: Option<&'v Type>,
}

impl<'v> Choice<'v> {
    fn read(variant: &'v Variant) -> Result<Self> {
        let attributes = ArgAttributes::read(&variant.attrs)?;
        if attributes.token.is_none() {
            return Err(Error::new_spanned(variant, "a choice needs a token"));
        }
        let payload = match &variant.fields {
            Fields::Unit => None,
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => Some(&fields.unnamed[0].ty),
            other => return Err(Error::new_spanned(other, "a choice carries nothing or one argument")),
        };
        Ok(Self { variant, attributes, payload })
    }

    fn spec(&self) -> TokenStream {
        let overrides = self.attributes.overrides(&self.variant.ident);
        match self.payload {
            Some(ty) => quote! {
                ::keystead::command::spec::ArgSpec { #overrides ..<#ty as ::keystead::command::Arg<'_>>::SPEC }
            },
            None => quote! {
                ::keystead::command::spec::ArgSpec {
                    kind: ::keystead::command::spec::ArgKind::PureToken,
                    #overrides
                    ..::keystead::command::spec::ArgSpec::PLAIN
                }
            },
        }
    }

    fn parse(&self) -> TokenStream {
        let token = &self.attributes.token;
        let name = &self.variant.ident;
        let value = match self.payload {
            Some(ty) => quote! {
                if args.remaining() == 0 {
                    return Err(::keystead::Error::syntax());
                }
                return Ok(Self::#name(<#ty as ::keystead::command::Arg<'_>>::parse(args)?));
            },
            None => quote!(return Ok(Self::#name);),
        };
        quote! {
            if ::keystead::command::is_token(word, #token) {
                #value
            }
        }
    }

    fn encode(&self) -> TokenStream {
        let token = &self.attributes.token;
        let name = &self.variant.ident;
        match self.payload {
            Some(_) => quote! {
                Self::#name(value) => {
                    out.push(#token.as_bytes().to_vec());
                    ::keystead::command::Arg::encode(value, out);
                }
            },
            None => quote!(Self::#name => out.push(#token.as_bytes().to_vec()),),
        }
    }
}
